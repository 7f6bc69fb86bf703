"""A client for Moodle's web services that knows how Moodle fails, and a simulated Moodle to try it on.

>>> with MoodleClient("https://moodle.example.org", token) as moodle:
...     moodle.site_info().release

`client` makes one call, `wire` speaks the format, `errors` names what went wrong, `outcomes` what became of rows;
`users`, `user_writes`, `cohorts`, `courses`, `enrolment` and `auth` are the functions; `breaker` spares a Moodle that
does not answer. `simulator` is a Moodle made of recordings, for tests and demonstrations.
"""

from moodle_ws.breaker import Breaker
from moodle_ws.client import MoodleClient
from moodle_ws.cohorts import Cohort, Membership, NewCohort
from moodle_ws.courses import MoodleCourse
from moodle_ws.enrolment import Enrolment
from moodle_ws.errors import (
    AccessDenied,
    AnswerLost,
    BadRequest,
    BadRow,
    CircuitOpen,
    DatabaseRefused,
    FieldHidden,
    InvalidResponse,
    Maintenance,
    MissingCapability,
    MoodleError,
    NotFound,
    Refused,
    RoleNotAssignable,
    ServiceUserBlocked,
    TokenInvalid,
    Truncated,
    Unavailable,
    UnknownOutcome,
    UnreadableAnswer,
    WeakPassword,
    WebServiceDisabled,
)
from moodle_ws.outcomes import RowOutcome, RowStatus
from moodle_ws.site import SiteInfo
from moodle_ws.token import request_token
from moodle_ws.user_writes import Created, NewUser, UpdateOutcome, UserUpdate
from moodle_ws.users import MoodleUser, UserBatch, same_email

__all__ = [
    "AccessDenied",
    "AnswerLost",
    "BadRequest",
    "BadRow",
    "Breaker",
    "CircuitOpen",
    "Cohort",
    "Created",
    "DatabaseRefused",
    "Enrolment",
    "FieldHidden",
    "InvalidResponse",
    "Maintenance",
    "Membership",
    "MissingCapability",
    "MoodleClient",
    "MoodleCourse",
    "MoodleError",
    "MoodleUser",
    "NewCohort",
    "NewUser",
    "NotFound",
    "Refused",
    "RoleNotAssignable",
    "RowOutcome",
    "RowStatus",
    "ServiceUserBlocked",
    "SiteInfo",
    "TokenInvalid",
    "Truncated",
    "Unavailable",
    "UnknownOutcome",
    "UnreadableAnswer",
    "UpdateOutcome",
    "UserBatch",
    "UserUpdate",
    "WeakPassword",
    "WebServiceDisabled",
    "request_token",
    "same_email",
]
