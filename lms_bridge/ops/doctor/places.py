"""Where things are set: menu paths in Moodle, marked for translation, to be given to gettext where they are shown."""

from __future__ import annotations

from lms_bridge.i18n import N_

WEB_SERVICES = N_("Moodle: Site administration › Server › Web services › Overview")
SERVICES = N_("Moodle: Site administration › Server › Web services › External services")
TOKENS = N_("Moodle: Site administration › Server › Web services › Manage tokens")
ROLES = N_("Moodle: Site administration › Users › Permissions › Define roles")
ROLE_HOLDERS = N_("Moodle: Site administration › Users › Permissions › Assign system roles")
ADMINISTRATORS = N_("Moodle: Site administration › Users › Permissions › Site administrators")
USER_POLICIES = N_("Moodle: Site administration › Users › Permissions › User policies")
USERS = N_("Moodle: Site administration › Users › Accounts › Browse list of users")
PROFILE_FIELDS = N_("Moodle: Site administration › Users › Accounts › User profile fields")
AUTHENTICATION = N_("Moodle: Site administration › Plugins › Authentication › Manage authentication")
CAS_SERVER = N_("Moodle: Site administration › Plugins › Authentication › CAS server (SSO)")
MAINTENANCE = N_("Moodle: Site administration › Server › Maintenance mode")
ENVIRONMENT = N_("Moodle: Site administration › Server › Environment")
DEBUGGING = N_("Moodle: Site administration › Development › Debugging")
PHP = N_("The Moodle server's php.ini")
MOODLE_SERVER = N_("The Moodle server")
