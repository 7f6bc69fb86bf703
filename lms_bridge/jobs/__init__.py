"""Background work: rows wait in the database, a runner takes them by lease."""
