"""A simulated Moodle: its web services and the browser face of its CAS plugin, behaving as recorded.

For tests and demonstrations only: passwords are kept in clear, and nothing is stored. Courses: 2 needs a sign-in,
3 one is not enrolled in, 4 is open to guests. `whoami.json` says who is signed in, `{"username": null}` for nobody.
"""

from moodle_ws.simulator.flavours import Database, Version
from moodle_ws.simulator.options import (
    AUTH_CAS,
    AUTH_CASATTRAS,
    CasPlugin,
    Course,
    Debug,
    SimulatorOptions,
    UserKeySettings,
)
from moodle_ws.simulator.pace import Pace
from moodle_ws.simulator.server import ServerHandle, SimulatedMoodle
from moodle_ws.simulator.site import ProfileField, Site
from moodle_ws.simulator.user_table import User

__all__ = [
    "AUTH_CAS",
    "AUTH_CASATTRAS",
    "CasPlugin",
    "Course",
    "Database",
    "Debug",
    "Pace",
    "ProfileField",
    "ServerHandle",
    "SimulatedMoodle",
    "SimulatorOptions",
    "Site",
    "User",
    "UserKeySettings",
    "Version",
]
