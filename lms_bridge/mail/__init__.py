"""Mail: composed from templates, delivered from the outbox."""
