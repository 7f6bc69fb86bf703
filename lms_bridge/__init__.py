"""LMS Bridge: the service that joins a university's people and its Moodle sites."""
