"""People who have two accounts, or several ways in to one."""
