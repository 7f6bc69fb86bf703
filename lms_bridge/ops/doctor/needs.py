"""What the bridge needs of a Moodle: functions, capabilities, versions. The guide's tables say the same."""

from __future__ import annotations

FUNCTIONS = frozenset(
    {
        "core_webservice_get_site_info",
        "core_user_get_users_by_field",
        "core_user_create_users",
        "core_user_update_users",
    }
)

COHORTS_READ = "core_cohort_search_cohorts"

COHORT_FUNCTIONS = frozenset(
    {
        COHORTS_READ,
        "core_cohort_get_cohorts",
        "core_cohort_create_cohorts",
        "core_cohort_get_cohort_members",
        "core_cohort_add_cohort_members",
        "core_cohort_delete_cohort_members",
    }
)
"""Needed only where the bridge keeps cohorts."""

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
CAS_LEFT_CORE = (5, 0)
"""From here on the CAS plugin is an add-on."""
