"""The settings of the help desk. Field descriptions are the reference page's text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lms_bridge.settings.sections import Name, Section


class HelpDeskMember(Section):
    """People of the help desk, by user name, or by what their CAS says of them at sign-in. Several entries add up."""

    role: Literal["viewer", "agent", "administrator"] = Field(
        description="`viewer`: looks things up. `agent`: also decides on requests and acts on one account. "
        "`administrator`: also acts on many at once."
    )
    usernames: tuple[str, ...] = Field((), description="User names of these people.")
    issuer: Name | None = Field(
        None, description="The `[[upstreams]]` entry whose word counts, with `attribute` and `value`."
    )
    attribute: str = Field("", description="CAS attribute; it must be among that entry's `keep`.")
    value: str = Field("", description="Its value (any of them, when it has several).")
    units: tuple[str, ...] = Field(
        (),
        description="Only accounts of these units, named as on the accounts. Empty: every account, and what belongs to "
        "no account (requests for assistance, invitations).",
    )

    @property
    def rule(self) -> tuple[str, str, str] | None:
        """Issuer, attribute and value, where people are named by what a CAS says."""
        return (self.issuer, self.attribute, self.value) if self.issuer else None

    @model_validator(mode="after")
    def _names_somebody(self) -> HelpDeskMember:
        parts = (self.issuer, self.attribute, self.value)
        if any(parts) and not all(parts):
            raise ValueError("`issuer`, `attribute` and `value` belong together")
        if not self.usernames and not self.issuer:
            raise ValueError("name somebody: `usernames`, or `issuer`, `attribute` and `value`")
        if any(not unit.strip() for unit in self.units):
            raise ValueError("a unit has no name; leave `units` out to mean every account")
        return self


class HelpDesk(Section):
    """Who works at the help desk, and what they may do there. See `docs/guides/assistance.md`."""

    members: tuple[HelpDeskMember, ...] = Field((), description="See `[[help_desk.members]]`.")

    @property
    def usernames(self) -> frozenset[str]:
        """Every user name that settings give a role to."""
        return frozenset(name for entry in self.members for name in entry.usernames)
