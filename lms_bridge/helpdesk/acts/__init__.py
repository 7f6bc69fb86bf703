"""What the help desk does for an account: each act the same on one page, and for many at once."""
