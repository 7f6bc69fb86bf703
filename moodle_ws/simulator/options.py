"""Everything about a simulated Moodle that a test or a demonstration may choose."""

from dataclasses import dataclass, field
from enum import IntEnum

from moodle_ws.simulator.flavours import Database, Version
from moodle_ws.simulator.pace import Pace


class Debug(IntEnum):
    """Moodle's debug levels. From NORMAL on, errors carry `debuginfo` (ground truth §1)."""

    NONE = 0
    NORMAL = 15
    DEVELOPER = 32767


@dataclass(frozen=True)
class CasPlugin:
    """A CAS plugin's outward habits: the `auth` value of its users, the query of its login button, and the
    parameter it logs out with (versions page §2)."""

    auth: str
    button: tuple[str, str]
    logout_parameter: str


AUTH_CAS = CasPlugin(auth="cas", button=("authCAS", "CAS"), logout_parameter="service")
AUTH_CASATTRAS = CasPlugin(auth="casattras", button=("authCASattras", "CASattras"), logout_parameter="url")


@dataclass(frozen=True)
class Course:
    """A course: `open_to_guests` lets visitors in as the guest user, `enrolled` says that everybody may enter."""

    id: int
    fullname: str
    shortname: str = ""
    enrolled: bool = True
    open_to_guests: bool = False


@dataclass(frozen=True)
class UserKeySettings:
    """Settings of the plugin auth_userkey, with its names (ground truth §8). `keylifetime` is in seconds; networks in
    `ipwhitelist` are separated by `;`."""

    mappingfield: str = "email"
    keylifetime: float = 60.0
    ipwhitelist: str = ""
    redirecturl: str = ""
    ssourl: str = ""
    iprestriction: bool = False
    createuser: bool = False
    updateuser: bool = False


@dataclass(frozen=True)
class SimulatorOptions:
    """How the simulated Moodle is set up. Names of settings are Moodle's.

    `url` is the site's wwwroot; without it, the address it is served at. `cas_url` is the base of the CAS server (the
    real plugin only does https; here loopback http is allowed); without it there is no CAS button. `multiauth=False`
    sends the login page straight to CAS. `cas_version` is "1.0", "2.0", "3.0" or "S1" (SAML 1.1). `cas_timeout` is in
    seconds: the real plugin waits for ever. `cas_verify` is False, True, or the path of the certificates to trust.
    `cas_without_server` is the plugin switched on and left without a server. `service` is the short name of the web
    service. With `pace`, web service calls take the time they take on a real server.
    """

    url: str | None = None
    token: str = "simulated-token"  # noqa: S105 - nothing real is behind it
    version: Version = Version.V4_5
    database: Database = Database.POSTGRESQL
    debug: Debug = Debug.NONE
    cas_url: str | None = None
    cas_plugin: CasPlugin = AUTH_CAS
    cas_version: str = "2.0"
    cas_timeout: float | None = 30.0
    cas_without_server: bool = False
    cas_verify: bool | str = True
    multiauth: bool = False
    logoutcas: bool = True
    logout_return_url: str = ""
    alternateloginurl: str = ""
    forcelogin: bool = False
    authpreventaccountcreation: bool = True
    authloginviaemail: bool = False
    extendedusernamechars: bool = False
    allowaccountssameemail: bool = False
    protectusernames: bool = True
    registerauth: str = ""
    forgottenpasswordurl: str = ""
    showuseridentity: tuple[str, ...] = ("email",)
    hiddenuserfields: tuple[str, ...] = ()
    max_input_vars: int = 1000
    pace: Pace | None = None
    userkey: UserKeySettings | None = None
    sitename: str = "UPdago (simulé)"
    site_shortname: str = "updago"
    service: str = "bridge"
    languages: tuple[str, ...] = ("en", "fr")
    auth_plugins: tuple[str, ...] = (
        "cas",
        "casattras",
        "db",
        "email",
        "ldap",
        "lti",
        "manual",
        "nologin",
        "none",
        "oauth2",
        "shibboleth",
        "userkey",
    )
    courses: tuple[Course, ...] = field(
        default=(
            Course(2, "Bienvenue sur UPdago", "bienvenue"),
            Course(3, "Cours sur inscription", "inscription", enrolled=False),
            Course(4, "Espace ouvert", "ouvert", open_to_guests=True),
        )
    )
