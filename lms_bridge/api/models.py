"""What travels over the API: what is accepted, what is answered, and so what the OpenAPI document says."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from external_accounts.import_rows import KEY, Wish, wish_of
from external_accounts.import_rows import Problem as CellProblem

Key = Annotated[str, Field(pattern=f"^{KEY.pattern}$", description="The person's key in the staff office's system.")]
Text = Annotated[str, Field(min_length=1, max_length=100)]
Email = Annotated[str, Field(min_length=3, max_length=100)]


class Fields(BaseModel):
    """What can be said of an account. What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=False)

    given_name: Text = Field("", description="Given name.")
    family_name: Text = Field("", description="Family name.")
    birth_name: Text = Field("", description="Birth name. Only used to recognise somebody who comes twice.")
    profile: Text = Field("", description="Name of a population, as the settings of the bridge have it.")
    private_email: Email = Field("", description="Where the activation is mailed to. Never confirmed by this.")
    institutional_email: Email = Field("", description="The university's address of the person.")
    unit: Text = Field("", description="Department or service.")
    rights_end: date | None = Field(None, description="Last day of the rights. `null`: they have no end.")
    sponsor: Text = Field("", description="Who answers for the account: user name, key or confirmed address.")

    def wish(self, external_key: str) -> tuple[Wish, list[CellProblem]]:
        """What is wished for, and what is wrong with it."""
        said = {name: getattr(self, name) for name in self.model_fields_set if name != "external_key"}
        if "rights_end" in said:
            said["rights_end"] = said["rights_end"] or "aucune"
        if "homonym_checked" in said:
            said["homonym_checked"] = "oui" if said["homonym_checked"] else ""
        return wish_of({**said, "external_key": external_key})


class NewAccount(Fields):
    """An account to create."""

    external_key: Key
    given_name: Text = Field(description="Given name.")
    family_name: Text = Field(description="Family name.")
    profile: Text = Field(description="Name of a population, as the settings of the bridge have it.")
    username: Text = Field("", description="Where it exists already. Else one is made of the name.")
    language: Literal["fr", "en"] = Field("fr", description="Language of the mails, until the person chooses.")
    homonym_checked: bool = Field(False, description="Somebody made sure that the person has no account.")


class End(BaseModel):
    """The end of an account's rights."""

    model_config = ConfigDict(extra="forbid")

    last_day: date | None = Field(None, description="Last day of the rights. Left out or `null`: they end now.")


class HeldAddress(BaseModel):
    """An address of an account, as far as it concerns the caller."""

    role: str = Field(description="`institutional`, `recovery`, `contact` or `forwarding`.")
    masked: str = Field(description="First letter and domain.")
    confirmed: bool = Field(description="Whether the person showed that they read it.")
    primary: bool


class Account(BaseModel):
    """An account as it is."""

    external_key: str
    username: str
    profile: str
    given_name: str
    family_name: str
    birth_name: str
    unit: str
    state: Literal["waiting", "active", "suspended", "ended"] = Field(
        description="`waiting`: not activated yet. `ended`: the rights are over."
    )
    created_at: datetime
    activated_at: datetime | None
    rights_end_at: datetime | None
    addresses: list[HeldAddress]
    notes: list[str] = Field(description="What the caller should know of what was done, in words.")


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str | None
    reason: str = Field(description="A stable word.")
    text: str = Field(description="In words.")


class AlikeAccount(BaseModel):
    """An account that may be the same person."""

    username: str
    external_key: str
    points: int
    facts: list[str] = Field(description="Which facts gave the points; stable words.")
    text: str


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str = Field(description="`urn:lms-bridge:problem:` and a stable word.")
    title: str
    status: int
    detail: str = ""
    errors: list[FieldProblem] = []
    alike: list[AlikeAccount] = []
    reference: str = Field("", description="To be told to the operator: names the error in the log.")
