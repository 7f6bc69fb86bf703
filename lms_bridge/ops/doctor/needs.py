"""What the doctor knows of Moodle's functions and versions. The functions the bridge calls are the guard's list
(`lms_bridge/sync/guard.py`), so that doctor and run never disagree; the guide's tables say the same."""

from __future__ import annotations

COHORTS_READ = "core_cohort_search_cohorts"

NEVER_FUNCTIONS = frozenset(
    {
        "core_user_delete_users",
        "core_role_assign_roles",
        "core_role_unassign_roles",
        "auth_userkey_request_login_url",
    }
)
"""Never called, and more than a stolen token should be able to do."""

OLDEST_RELEASE = (4, 1)
FULLY_SUPPORTED = (4, 5)
NEWEST_KNOWN = (5, 2)
NAMES_NEED_NO_RIGHT = (4, 5)
"""From here on first and last names come back without `moodle/site:viewfullnames` (versions page §1)."""
