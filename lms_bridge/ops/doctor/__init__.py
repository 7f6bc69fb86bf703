"""The doctor: looks at everything an administrator must have set up, and says what is wrong, where, and what to do.

`examination` runs it; `gathering` and the `*_facts` modules look (network, database) and judge nothing; every other
module holds one family of checks: small functions over those facts that return findings. Nothing is ever written to
Moodle, and nothing is kept in the database.
"""
