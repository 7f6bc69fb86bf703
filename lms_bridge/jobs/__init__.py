"""Background work: rows wait in the database, whoever works takes them by lease."""
