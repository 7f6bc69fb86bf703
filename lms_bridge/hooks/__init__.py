"""Telling the university's other systems of changes of accounts: by hooks, and by the directories."""
