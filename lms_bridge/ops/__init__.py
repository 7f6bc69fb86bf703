"""Running it: logs, health."""
