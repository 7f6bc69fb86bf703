"""Measurements: the bridge beside django-cas-server on the same machine, interleaved. `python -m benchmarks --help`.

`benchmarks.moodle_client` measures the Moodle client on a real Moodle."""
