"""The settings of registration. Field descriptions are the reference page's text."""

from __future__ import annotations

import re
from functools import cached_property

from pydantic import Field, field_validator

from external_accounts.accounts import Person
from external_accounts.refused_domains import disposable_domains, read_domains
from external_accounts.usernames import proposals
from lms_bridge.settings.sections import File, Mailbox, MailDomain, Name, Section


class Registration(Section):
    """How people without an account of the university get one. Whether they can is a setting of each Moodle site."""

    profile: Name = Field("learner", description="Profile of the accounts made.")
    rights_months: int | None = Field(
        None, ge=1, le=120, description="Months after which the rights end, when nobody says otherwise. None: never."
    )
    username_form: str = Field(
        "ext.{given}.{family}",
        description="How a user name is proposed, from `{given}` and `{family}`. It must lie within "
        "`local.username_pattern`.",
    )
    username_choice: bool = Field(True, description="Whether people may change the proposed user name.")
    disposable_domains: bool = Field(
        True, description="Refuse addresses of disposable mail services, by the list that comes with the product."
    )
    refused_domains: tuple[MailDomain, ...] = Field((), description="Further mail domains to refuse, with those below.")
    refused_domains_file: File | None = Field(None, description="A file of further ones, one a line.")
    allowed_domains: tuple[MailDomain, ...] = Field((), description="Domains to let through whatever the lists say.")
    sponsors: tuple[Name, ...] = Field(
        (), description="Profiles whose people may answer for somebody: they decide on requests that name them."
    )
    deciders: tuple[Mailbox, ...] = Field(
        (), description="Who is written to when a request waits that names no sponsor. Empty: `institution.help_email`."
    )
    waiting_days: int = Field(30, ge=1, le=365, description="A request that nobody decided is refused after this.")
    link_days: int = Field(
        14, ge=1, le=90, description="How long the link of an invitation, or of an accepted request, can be used."
    )
    keep_days: int = Field(30, ge=1, le=365, description="How long registrations are kept after they ended.")

    @field_validator("username_form")
    @classmethod
    def _only_known_parts(cls, value: str) -> str:
        if set(re.findall(r"\{([^}]*)\}", value)) - {"given", "family"} or value.count("{") != value.count("}"):
            raise ValueError("write it like `ext.{given}.{family}`: no other parts are known")
        if "{family}" not in value and "{given}" not in value:
            raise ValueError("`{given}` or `{family}` must be part of it")
        return value

    def proposes_within(self, space: re.Pattern[str]) -> bool:
        """Whether proposed names lie within the name space."""
        return next(proposals(self.username_form, Person("Ada", "Lovelace"), space=space), "") == (
            self.username_form.format(given="ada", family="lovelace")
        )

    @cached_property
    def refused(self) -> frozenset[str]:
        """Every mail domain that is refused."""
        shipped = disposable_domains() if self.disposable_domains else frozenset[str]()
        own = read_domains(self.refused_domains_file) if self.refused_domains_file else frozenset[str]()
        return shipped | own | frozenset(self.refused_domains)
