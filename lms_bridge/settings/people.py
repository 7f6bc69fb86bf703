"""The settings of what people of the university do alone, and of what is handed on about them."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from external_accounts.profiles import ProfilePolicy
from lms_bridge.settings.sections import Label, Name, Section

LinkLife = Annotated[str, Field(pattern=r"^(next_day_2359|same_day_2359|hours:([6-9]|[1-9][0-9]{1,2}))$")]


class Profile(Section):
    """A population."""

    name: Name = Field(description="Internal name.")
    label: Label = Field(description="What people read.")
    issuer: Name | None = Field(
        None, description="The [[upstreams]] entry its people sign in through. Empty: the Extérieurs door."
    )
    directory: Name | None = Field(
        None, description="The [[directories]] entry that holds its people’s passwords. Empty: none the bridge reaches."
    )
    first_link: LinkLife = Field(
        "next_day_2359",
        description="How long the first activation link can be used: `next_day_2359`, `same_day_2359` or `hours:N` "
        "(at least 6). In the time zone of the university, and never for less than 6 hours.",
    )
    link_again: LinkLife = Field("same_day_2359", description="The same, for a link that the person asked for.")
    retention_months: int | None = Field(
        None,
        ge=0,
        le=120,
        description="Months from the end of rights to the erasure of the account. Empty: it is kept until somebody "
        "asks for its deletion.",
    )
    extension_months: int = Field(
        0, ge=0, le=60, description="How many months an extension can be asked for at once. 0: none can be asked for."
    )
    mailbox: Literal["box", "forward", "none"] | None = Field(
        None,
        description="`box`: its people have a university mailbox and may forward it. `forward`: only an address, whose "
        "mail is forwarded to an address of theirs. `none`: neither. Empty: `box` where `issuer` is set, else `none`.",
    )
    listing: bool | None = Field(
        None,
        description="Whether its people are asked if they want to stand in the public directory. Empty: where `issuer` "
        "is set.",
    )
    antispam: bool = Field(False, description="Whether its people choose the level of their spam filter.")
    whom_to_see: Label = Field(
        {"fr": "l’assistance", "en": "the help desk"},
        description="Who helps its people when the bridge has no address to write to, e.g. `le service des ressources "
        "humaines`.",
    )

    @property
    def policy(self) -> ProfilePolicy:
        return ProfilePolicy(
            self.name,
            directory=self.directory or "",
            issuer=self.issuer or "",
            first_link=self.first_link,
            link_again=self.link_again,
            retention_months=self.retention_months,
            extension_months=self.extension_months,
            mailbox=self.mailbox or ("box" if self.issuer else "none"),
            listing=bool(self.issuer) if self.listing is None else self.listing,
            antispam=self.antispam,
        )


class Share(Section):
    """How many accounts a run may change unasked: `percent` of those that come from files, but at least `floor`."""

    percent: float = Field(ge=0, le=100, description="Percentage of the accounts that come from files.")
    floor: int = Field(ge=0, description="A run that changes no more than this is never stopped.")


class Imports(Section):
    """Accounts that come from the staff office: by file (`lms-bridge import`) and by the API."""

    username_form: str = Field(
        "{given}.{family}",
        description="How the user name of somebody is made who signs in through a CAS, from `{given}`, `{family}` and "
        "`{initial}`. It must lie outside `local.username_pattern`. Accounts kept here: `registration.username_form`.",
    )
    homonym_threshold: int = Field(
        60,
        ge=35,
        le=200,
        description="From how many points on somebody who is like an account, or like another line of the file, needs "
        "a human to look first, and two accounts are shown as likely one person’s. See "
        "`docs/explanation/duplicates.md`.",
    )
    ended: Share = Field(Share(percent=5, floor=20), description="Accounts that a run may end unasked.")
    renamed: Share = Field(Share(percent=5, floor=50), description="Accounts that a run may give another name unasked.")
    api_ends_a_day: int = Field(
        50, ge=0, description="Accounts that one key of the API may end in a day; more are for `lms-bridge import`."
    )

    @field_validator("username_form")
    @classmethod
    def _only_known_parts(cls, value: str) -> str:
        parts = set(re.findall(r"\{([^}]*)\}", value))
        if parts - {"given", "family", "initial"} or value.count("{") != value.count("}") or not parts:
            raise ValueError("write it like `{given}.{family}` or `{initial}{family}`: no other parts are known")
        if not re.fullmatch(r"[a-z0-9._@-]*", re.sub(r"\{[^}]*\}", "", value)):
            raise ValueError("a user name has only the characters a-z 0-9 . _ @ -")
        return value


class Duplicates(Section):
    """By what else than names the duplicate radar recognises a person who has two accounts."""

    person_key_attributes: tuple[str, ...] = Field(
        (),
        description="CAS attributes whose value names one person, e.g. `supannEmpId`, `supannEtuId`: two accounts with "
        "the same value are likely one person’s. Each must be among some `[[upstreams]]` entry’s `keep`. After a "
        "change: `lms-bridge duplicates scan --all`.",
    )
    staff_office_attribute: str = Field(
        "",
        description="The one among them whose values are the keys of the staff office’s files (`lms-bridge import`) "
        "too. Empty: none is.",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.staff_office_attribute and self.staff_office_attribute not in self.person_key_attributes:
            raise ValueError("`staff_office_attribute` must be one of `person_key_attributes`")
        return self


class LostIdentifier(Section):
    """One answer to “Vous êtes” on the page of lost identifiers."""

    name: Name = Field(description="Value of the field `profile`.")
    label: Label = Field(description="What people read.")
    profiles: tuple[Name, ...] = Field(min_length=1, description="The profiles it means.")
    mail_to: Literal["person", "sponsor"] = Field(
        "person",
        description="`person`: the private addresses of the account that are confirmed. `sponsor`: the person "
        "responsible for it, for accounts that are nobody’s own.",
    )


class Letters(Section):
    """Account letters: printed by the help desk, with a code that opens the activation."""

    days: int = Field(30, ge=1, le=365, description="How many days the code of a letter can be used.")
    most: int = Field(
        200, ge=1, le=2000, description="Most letters in one PDF of `lms-bridge letters`; the console takes 50."
    )


LOST_IDENTIFIERS = (
    LostIdentifier(
        name="vacataire",
        label={"fr": "Enseignant vacataire", "en": "Adjunct teacher"},
        profiles=("vacataire",),
        mail_to="person",
    ),
    LostIdentifier(
        name="library_reader",
        label={"fr": "Lecteur à la bibliothèque universitaire", "en": "Reader at the university library"},
        profiles=("library_reader",),
        mail_to="person",
    ),
    LostIdentifier(
        name="technical",
        label={"fr": "Autres (compte technique)", "en": "Other (technical account)"},
        profiles=("technical",),
        mail_to="sponsor",
    ),
)
