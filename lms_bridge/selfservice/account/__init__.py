"""My account: what I am, what I may enter, and everything I can change myself. One module a page family."""
