"""A web service call in progress, and the form every simulated function has."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moodle_ws.simulator.errors import missing_capability, moodle_error
from moodle_ws.simulator.options import SimulatorOptions
from moodle_ws.simulator.shapes import Shape, Single
from moodle_ws.simulator.site import Site, Token
from moodle_ws.simulator.user_table import User


@dataclass(frozen=True)
class Call:
    """Who calls, and on which site. `raw` is the setting `moodlewssettingraw`; the rows of `poisoned` users are unfit
    for this call, `hidden` ones cannot be seen by it."""

    site: Site
    token: Token
    user: User
    raw: bool = False
    poisoned: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()

    @property
    def options(self) -> SimulatorOptions:
        """The site's settings."""
        return self.site.options

    def may(self, capability: str) -> bool:
        """Whether the token's user has this capability."""
        return capability in self.token.capabilities

    def require(self, capability: str) -> None:
        """Raises `nopermissions` unless the token's user has this capability."""
        if not self.may(capability):
            raise missing_capability(capability)

    def enter_context(self) -> None:
        """The checks that site information alone skips (ground truth §2): password change, profile, policy."""
        if self.user.preferences.get("auth_forcepasswordchange") == "1":
            raise moodle_error("forcepasswordchangenotice", "error/forcepasswordchangenotice")
        if not self.user.email or not self.user.firstname:
            raise moodle_error("usernotfullysetup", "User not fully set-up")
        if self.site.site_policy and not self.user.policyagreed:
            address = f"{self.site.wwwroot}/user/policy.php"
            link = f'<a href="{address}">Click here to open the site policy.</a>'
            raise moodle_error("sitepolicynotagreed", f"Site policy not agreed: {link}")


@dataclass(frozen=True)
class Function:
    """A web service function: what it takes, what it gives (None: nothing), and what it does."""

    name: str
    parameters: Single
    returns: Shape | None
    run: Callable[[Call, dict[str, Any]], Any]
