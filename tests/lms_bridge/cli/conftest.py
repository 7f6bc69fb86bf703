"""The command line works on a bridge with a simulated Moodle."""

from tests.lms_bridge.sync.conftest import world

__all__ = ["world"]
