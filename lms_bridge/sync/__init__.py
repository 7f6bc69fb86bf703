"""Keeping Moodle in step with the accounts."""
