"""Activating an account that the university announced: asking for a link, the mails, the steps, the end."""
