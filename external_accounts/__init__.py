"""The people, outside Moodle: accounts, identities, addresses, passwords, proofs.

Knows nothing of Flask or of Moodle. Every function takes the time it should believe in.
"""
