"""The recorded lab, rebuilt: the state in which each recorded answer was true.

The people of the lab are listed below. For a successful look-up the rows of the recorded answer are put in as they
read, beside everybody else; for a successful creation the people about to be created are taken out and the id
sequence is set to the recorded id. Settings come from the recording's own notes where it has them, and from the
tables below where it has not. The theme revision and the site's address, which only appear in picture addresses, are
taken from the answer.
"""

import re
from collections.abc import Callable
from typing import Any

from moodle_recordings import Recording, recorded_rows

from moodle_ws.simulator import (
    Course,
    Database,
    Debug,
    ProfileField,
    SimulatedMoodle,
    SimulatorOptions,
    UserKeySettings,
    Version,
)
from moodle_ws.simulator.site import ALL_CAPABILITIES, Site
from moodle_ws.simulator.site_info import SERVICE_FUNCTIONS

LAB_NAME = {"4.4": "Bridge Lab", "4.5": "Lab 4.5", "5.2": "Lab 5.2"}

# id (on 4.4 and 4.5; four more on 5.2), user name, and what is not the default.
PEOPLE: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (4, "c1", {}),
    (5, "m1", {"auth": "manual", "password": "Abc!23456"}),
    (6, "m2", {"auth": "manual", "password": "Abc!23456"}),
    (7, "b1", {"idnumber": "B-1"}),
    (8, "b2", {}),
    (9, "b3", {}),
    (14, "caspw", {}),
    (21, "cf1", {"customfields": {"staffid": "S-2", "vipflag": "1"}}),
    (24, "id1", {"idnumber": "EMP-0001"}),
    (25, "id2", {"idnumber": "EMP-0001"}),
    (29, "bob@example.test", {"email": "bob@example.test"}),
    (41, "idzero", {"idnumber": "0"}),
    (69, "xml1", {}),
    (101, "r1", {"auth": "manual", "secret": "SECRET123456789"}),
    (102, "r2", {}),
    (103, "r3", {"auth": "manual", "suspended": True}),
    (104, "uk1", {"auth": "userkey", "idnumber": "UK1"}),
    (105, "uk2", {"auth": "userkey"}),
    (106, "uk3", {}),
    (107, "uk4", {}),
    (108, "uk5", {}),
    (109, "unconm", {"auth": "manual", "secret": "SECRETabcdefghi", "confirmed": False}),
)

_STORED = frozenset(
    (
        *("username", "auth", "firstname", "lastname", "email", "idnumber", "suspended", "confirmed", "lang", "theme"),
        *("timezone", "mailformat", "description", "department", "institution", "city", "country", "firstaccess"),
        "lastaccess",
    )
)

# The accounts of the recordings `collision-idnumber-get-*`: on MariaDB the first four and the two in wide letters are
# one, the non-breaking hyphen and the missing hyphen are others.
EIGHT_IDNUMBERS = ("EMP-9", "emp-9", "ÉMP-9", "EMP-9 ", "EMP‑9", "ＥMP-9", "EMP-９", "EMP9")

CAPABILITY_WORDS = {
    "viewdetails": "moodle/user:viewdetails",
    "all": "moodle/user:viewalldetails",
    "viewalldetails": "moodle/user:viewalldetails",
    "identity": "moodle/site:viewuseridentity",
    "fullnames": "moodle/site:viewfullnames",
    "update": "moodle/user:update",
    "create": "moodle/user:create",
    "hidden": "moodle/user:viewhiddendetails",
    "cohassign": "moodle/cohort:assign",
    "cohview": "moodle/cohort:view",
    "cohmanage": "moodle/cohort:manage",
}


def lab(recording: Recording) -> SimulatedMoodle:
    """A simulated Moodle in the state in which `recording` was made."""
    moodle = SimulatedMoodle(_options(recording))
    site = moodle.site
    site.profile_fields = (ProfileField("vipflag", "VIP", "checkbox"), ProfileField("staffid", "Staff id"))
    if recording.name == "get-customfields" and recording.database == "mariadb":
        site.profile_fields = site.profile_fields[::-1]  # the order is the database's own (MariaDB page, section 3)
    revision = re.search(r"/core/(\d+)", recording.body.replace("\\/", "/"))
    site.theme_revision = int(revision[1]) if revision else site.theme_revision
    _people(site, recording)
    _cohorts(site, recording)
    _rights(site, recording)
    _adopt_answer(site, recording)
    _from_notes(site, recording)
    for pattern, change in SPECIAL:
        if re.fullmatch(pattern, recording.name.removesuffix(" (PostgreSQL)")):
            change(site, recording)
    return moodle


def people_shift(recording: Recording) -> int:
    """The 5.2 lab had four more accounts before the first recorded one."""
    return 4 if recording.version == "5.2" else 0


# -- options ---------------------------------------------------------------------------------------------------------


def _options(recording: Recording) -> SimulatorOptions:
    notes, name = recording.notes, recording.name
    address = re.search(r"http://127\.0\.0\.1:\d+", recording.body.replace("\\/", "/"))
    debug = Debug.NONE
    if (
        re.search(r"debug=15|DEBUG_NORMAL", notes)
        or name == "debugdisplay-tokenphp"
        or "-dbg-" in name
        or name.endswith("-debug")
    ):
        debug = Debug.NORMAL
    if "DEVELOPER" in notes:
        debug = Debug.DEVELOPER
    plugins = set(SimulatorOptions().auth_plugins)
    if name.startswith("nocas-"):
        plugins -= {"cas"}
    limit = 1000 if "max_input_vars=1000" in notes else 5000
    extended = ("extendedusernamechars=1" in notes and "setting" not in notes) or "-ext1" in name
    return SimulatorOptions(
        url=address[0] if address else "http://127.0.0.1:8080",
        token="TOKEN",
        version=Version(recording.version),
        database=Database(recording.database),
        debug=debug,
        sitename=LAB_NAME[recording.version],
        languages=("en",),
        auth_plugins=tuple(sorted(plugins)),
        max_input_vars=limit,
        extendedusernamechars=extended,
        allowaccountssameemail="allowaccountssameemail=1" in notes,
        protectusernames="protectusernames=0" not in notes,
        showuseridentity=() if "showuseridentity" in name else ("email",),
        hiddenuserfields=("suspended", "email", "lastaccess") if name.endswith("-hiddenuserfields") else (),
        registerauth="email" if name.startswith("confirm-") and name != "confirm-not-enabled" else "",
        forgottenpasswordurl="https://portal.example.test/" if name == "pwreset-forgottenpasswordurl-set" else "",
        courses=(Course(2, "Course one", "C1"), Course(3, "Course two", "C2", enrolled=False)),
        site_shortname="lab",
        cas_without_server=recording.answer is None and name.startswith("token-php-"),
        userkey=_userkey(name),
    )


def _userkey(name: str) -> UserKeySettings | None:
    if name == "userkey-plugin-disabled":
        return None
    mapping = "email"
    for column in ("idnumber", "username"):
        if f"userkey-map-{column}" in name or f"collision-userkey-{column}" in name:
            mapping = column
    return UserKeySettings(
        mappingfield=mapping,
        iprestriction="iprestriction" in name,
        createuser=name.startswith("userkey-createuser"),
        updateuser=name.startswith("userkey-updateuser"),
    )


# -- content ---------------------------------------------------------------------------------------------------------


def _people(site: Site, recording: Recording) -> None:
    shift = people_shift(recording)
    for number, username, values in PEOPLE:
        given = {"auth": "cas", "firstname": f"F{username[:5]}", "lastname": "L", "email": f"{username}@example.test"}
        site.add_user(username, id=number + shift, **{**given, **values})


def _cohorts(site: Site, recording: Recording) -> None:
    b1, c1 = 7 + people_shift(recording), 4 + people_shift(recording)
    staff = site.add_cohort("Staff", "staff", id=1)
    staff.members = [b1, 8, 9, c1, 24]
    site.add_cohort("Staff", "staff-b", id=2, description="<p>x</p>", visible=False)
    site.add_cohort("NoId", "", id=3)
    site.add_cohort("Cat", "catc", id=4, contextid=3)


def _rights(site: Site, recording: Recording) -> None:
    token = site.tokens["TOKEN"]
    # The service's token could create cohorts and assign their members, read everything, and delete.
    token.capabilities = ALL_CAPABILITIES
    exactly = re.search(r"token user has (?:exactly|only) (\S+(?: and \S+)*)", recording.notes)
    if exactly:
        token.capabilities = frozenset(re.split(r",| and ", exactly[1]))
        return
    words = recording.name.removesuffix(" (PostgreSQL)").split("-")
    if words[0] == "caps" and "showuseridentity" not in words:
        named = {CAPABILITY_WORDS[word] for word in words[1:-1] if word in CAPABILITY_WORDS}
        if words[1] == "update":
            named |= {"moodle/user:update"}
        token.capabilities = frozenset({"webservice/rest:use"} | named)
        if recording.name.endswith("-update"):
            # The last word is what was tried, not what was granted.
            granted = {CAPABILITY_WORDS[word] for word in words[1:-1] if word in CAPABILITY_WORDS}
            token.capabilities = frozenset({"webservice/rest:use"} | granted)
    if "showuseridentity" in words:
        token.capabilities = ALL_CAPABILITIES - {"moodle/site:viewfullnames"}


def _adopt_answer(site: Site, recording: Recording) -> None:
    """Puts the recorded rows into the site, or takes out those about to be created."""
    answer = recorded_rows(recording)
    if recording.function == "core_user_create_users" and isinstance(answer, list):
        created = {row["username"] for row in answer}
        sent = {value for key, value in recording.fields if key.endswith("[email]")}
        for user in list(site.living()):
            if user.username in created or user.email in sent:
                del site.users[user.id]
        site.next_user_id(int(answer[0]["id"]))
    if recording.function in {"core_user_get_users_by_field", "core_user_get_users"}:
        rows = answer.get("users", []) if isinstance(answer, dict) else answer
        for row in rows if isinstance(rows, list) else []:
            _adopt(site, row)
    if recording.function == "core_cohort_create_cohorts" and isinstance(answer, list):
        for row in answer:
            site.cohorts = {key: item for key, item in site.cohorts.items() if item.idnumber != row["idnumber"]}
        site._next_cohort = int(answer[0]["id"])
    if recording.function == "core_cohort_get_cohort_members":
        for row in answer if isinstance(answer, list) else []:
            site.cohorts[int(row["cohortid"])].members = [int(member) for member in row["userids"]]


def _adopt(site: Site, row: dict[str, Any]) -> None:
    number = int(row["id"])
    user = site.users.get(number)
    if user is None:
        user = site.add_user(row.get("username") or f"u{number}", id=number, auth="cas")
        user.firstname, _sep, user.lastname = row["fullname"].partition(" ")
    for other in list(site.living()):
        if other.id != number and other.username == row.get("username"):
            del site.users[other.id]
    for key in _STORED & row.keys():
        if row[key] is not None:
            setattr(user, key, type(getattr(user, key))(_plain(row[key])))
    if (
        row.get("username")
        and re.fullmatch(r".+\.\d{10}", row["username"])
        and re.fullmatch(r"[0-9a-f]{32}", row["email"])
    ):
        user.deleted = True
    for custom in row.get("customfields") or []:
        user.customfields[custom["shortname"]] = custom["value"]
    for preference in row.get("preferences") or []:
        user.preferences[preference["name"]] = preference["value"]


def _plain(value: Any) -> Any:
    return int(value) if value in {"0", "1"} else value


def _from_notes(site: Site, recording: Recording) -> None:
    """What the MariaDB collision recordings say about who existed."""
    for pattern, column in (
        (r"stored username '([^']*)'", "username"),
        (r"row '([^']*)' ", "username"),
        (r"stored '([^']*)'", "username"),
        (r"stored e-mail '([^']*)'", "email"),
        (r"idnumber, stored ([^,]*),", "idnumber"),
        (r"mappingfield=username, stored ([^,]*),", "username"),
        (r"user (cohrene);", "username"),
    ):
        match = re.search(pattern, recording.notes)
        if match and all(getattr(user, column) != match[1] for user in site.living()):
            values = {"username": "stored", "email": "stored@coll.test", "idnumber": "", column: match[1]}
            site.add_user(**values, auth="cas", firstname="F", lastname="L")
    for number, idnumber in enumerate(EIGHT_IDNUMBERS if "collision-idnumber-get" in recording.name else ()):
        values = {"auth": "cas", "firstname": "F", "lastname": "L", "email": f"x247{number}@coll.test"}
        if all(user.idnumber != idnumber for user in site.living()):
            site.add_user(f"i247{number}", idnumber=idnumber, **values)
    pair = re.search(r"two rows '([^']*)' and '([^']*)'", recording.notes)
    for number, email in enumerate(pair.groups() if pair else ()):
        if all(user.email != email for user in site.living()):
            site.add_user(f"e247{number}", auth="cas", firstname="F", lastname="L", email=email)
    if "cohort collstaff" in recording.notes or "cohort idnumber collstaff" in recording.notes:
        site.add_cohort("Coll", "collstaff")
    if "another account is renamed" in recording.notes:
        number = int(recording.fields[0][1])
        site.add_user("renamed", id=number, auth="cas", firstname="F", lastname="L", email="renamed@coll.test")


# -- the rest, by name -----------------------------------------------------------------------------------------------

Change = Callable[[Site, Recording], None]


def _token_user(username: str, **values: Any) -> Change:
    """The token belongs to somebody else than the service account."""

    def change(site: Site, recording: Recording) -> None:
        answer = recording.answer
        number = answer.get("userid", 60) if isinstance(answer, dict) else 60
        given = {"firstname": "A", "lastname": username, "email": f"{username}@svc.test"}
        user = site.users.get(number) or site.add_user(username, id=number, **given)
        for key, value in values.items():
            setattr(user, key, value)
        site.tokens["TOKEN"].userid = user.id

    return change


def _token(**values: Any) -> Change:
    def change(site: Site, _recording: Recording) -> None:
        for key, value in values.items():
            setattr(site.tokens["TOKEN"], key, value)

    return change


def _site(**values: Any) -> Change:
    def change(site: Site, _recording: Recording) -> None:
        for key, value in values.items():
            setattr(site, key, value)

    return change


def _add(number: int, username: str, **values: Any) -> Change:
    def change(site: Site, recording: Recording) -> None:
        given = {"auth": "cas", "firstname": "F", "lastname": "L", "email": f"{username}@example.test", **values}
        site.add_user(
            username, id=number + (0 if recording.name.startswith("nocas") else people_shift(recording)), **given
        )

    return change


def _only_the_answered(site: Site, recording: Recording) -> None:
    """The answer lists everybody there was: the others are taken out."""
    kept = {int(row["id"]) for row in recorded_rows(recording)["users"]}
    for user in list(site.living()):
        if user.id not in kept and user.id > 3:
            del site.users[user.id]


def _members(*numbers: int) -> Change:
    def change(site: Site, recording: Recording) -> None:
        site.cohorts[1].members = [number + people_shift(recording) for number in numbers]

    return change


def _no_token(site: Site, _recording: Recording) -> None:
    site.tokens.clear()


def _self(site: Site, recording: Recording) -> None:
    number = int(recording.answer[0]["id"])
    site.tokens["TOKEN"].userid = number
    site.tokens["TOKEN"].capabilities = frozenset({"webservice/rest:use"})


def _service_user(**values: Any) -> Change:
    def change(site: Site, _recording: Recording) -> None:
        for key, value in values.items():
            setattr(site.users[3], key, value)

    return change


def _service_order_of_5_2(site: Site, recording: Recording) -> None:
    """On the 5.2 lab the userkey function was added to the service last."""
    if recording.version == "5.2":
        names = [name for name, _component in SERVICE_FUNCTIONS if name != "auth_userkey_request_login_url"]
        site.tokens["TOKEN"].functions = (*names, "auth_userkey_request_login_url")


def _enrolled(site: Site, recording: Recording) -> None:
    site.enrolments = {(7 + people_shift(recording), 2, 5)}


_PLUS = _add(30, "bob+x", email="bobplus@example.test")

SPECIAL: tuple[tuple[str, Change], ...] = (
    (r"(xml-)?site-info|proto-authorised-user-.*", _service_order_of_5_2),
    (r"proto-invalid-token|xml-invalid-token|proto-token-expired-second-call", _no_token),
    (r"proto-token-user-deleted", _token_user("gone", deleted=True)),
    (r"proto-maintenance-db.*", _site(maintenance=True)),
    (r"proto-maintenance-cli", _site(maintenance_cli=True)),
    (r"proto-(rest|ws)-disabled", _site(web_services_enabled=False)),
    (r"proto-service-disabled", _token(service_enabled=False)),
    (r"proto-token-expired", _token(expired=True)),
    (r"proto-token-ip-disallowed", _token(address_allowed=False)),
    (r"proto-user-not-authorised", _token(user_authorised=False)),
    (r"proto-authorised-user-validuntil-past", _token_user("capauthd")),
    (r"proto-token-user-forcepasswordchange", _token_user("capsusp", preferences={"auth_forcepasswordchange": "1"})),
    (r"proto-token-user-nologin", _token_user("capsusp", auth="nologin")),
    (r"proto-token-user-unconfirmed", _token_user("capsusp", confirmed=False)),
    (r"proto-token-user-policy-not-agreed-get", _site(site_policy=True)),
    (r"proto-token-user-profile-incomplete-get", _service_user(email="")),
    (r"caps-after-self-suspend", _token_user("capupdate", suspended=True)),
    (r"caps-update-self-suspend", _add(55, "capupdate")),
    (r"caps-no-rest-use", _token(capabilities=frozenset())),
    (r"caps-none-sees-itself", _self),
    (r"xml-missing-capability", _token(capabilities=ALL_CAPABILITIES - {"moodle/user:delete"})),
    (r"confirm-ok", _add(120, "uncon", auth="email", confirmed=False, secret="SECRETabcdefghi")),
    (r"confirm-wrong-secret", _add(120, "uncon", auth="email", confirmed=False, secret="SECRETabcdefghi")),
    (r"confirm-already-email", _add(120, "uncon", auth="email", secret="SECRETabcdefghi")),
    (r"caps-cohassignview-add-cohort-members|caps-cohmanage-add-cohort-members", _members(7, 4)),
    (r"cohort-add-batch-.*|cohort-add-by-.*", _members()),
    (r"delete-(one|already-deleted)", _add(38, "del1")),
    (r"delete-already-deleted", lambda site, recording: site.delete_user(site.users[38 + people_shift(recording)])),
    (r"delete-batch-one-bad", _add(39, "del2")),
    (r"get-users-by-auth-cas|get-users-by-email-percent|get-users-only-unknown-key", _PLUS),
    (r"poison-username-.*|get-by-username-existing-plus-ext-off", _PLUS),
    (r"poison-auth-plugin-removed-debug", lambda site, _recording: setattr(site.users[9], "auth", "gonepl")),
    (r"get-users-by-auth-cas-clean|get-users-only-unknown-key-clean", _only_the_answered),
    # The recorded answer is cut inside the next person.
    (r"get-users-only-unknown-key-clean", _add(16, "cp1", firstname="Fcp1", auth="manual")),
    (r"enrol-get-enrolled", _enrolled),
    (r"token-php-maintenance", _site(maintenance=True)),
    (r"token-php-service-user-admin-issued", _service_user(password="Svc!23456789")),
    (r"token-php-unconfirmed", _add(120, "uncon", auth="manual", confirmed=False, password="Abc!23456")),
    (r"token-php-suspended", lambda site, _recording: setattr(site.users[103], "password", "Abc!23456")),
    (r"token-php-manual.*", lambda site, _recording: setattr(site.users[101], "password", "Abc!23456")),
    (r"nocas-token-php", _add(7, "nc4", auth="cas")),
    (r"oauth2-token-php", _add(30, "oa1", auth="oauth2")),
    (r"nocas-(get|update|suspend|unsuspend|password)-?.*", _add(6, "nc3", auth="manual")),
    (r"nocas-(get|update|suspend|unsuspend|password)-?.*", _add(7, "nc4", auth="cas")),
)
