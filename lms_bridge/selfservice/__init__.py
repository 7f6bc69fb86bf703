"""What people do alone: see where they stand, confirm an address, accept the charter, sign out everywhere."""
