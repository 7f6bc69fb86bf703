"""Measurements: the bridge beside django-cas-server on the same machine, interleaved. `python -m benchmarks --help`."""
