"""The JSON API for the university's own programs: `/api/v1`."""
