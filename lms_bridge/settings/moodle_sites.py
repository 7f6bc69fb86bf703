"""The settings of a Moodle site: what is written there, and what stops a run. Field descriptions are the reference
page's text."""

from __future__ import annotations

from datetime import date, time
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from lms_bridge.settings.sections import HttpsUrl, Name, Section
from moodle_ws.uniqueness import strict_key

RegistrationMode = Literal["closed", "invitation", "moderated"]
FieldMode = Literal["own", "seed", "ignore"]
Source = Annotated[str, Field(pattern=r"^(key|username|profile|email_confirmed|attribute:[A-Za-z0-9_.:-]{1,80})$")]
"""Where a value written to Moodle comes from: the bridge's own knowledge, or an attribute kept from the CAS."""


class SiteFields(Section):
    """Which profile fields of a Moodle user are written: `own` (always kept as here), `seed` (only at creation, left
    to Moodle afterwards), `ignore` (never). User name, sign-in method and suspension are not up for choice."""

    firstname: Literal["own", "seed"] = Field("own", description="First name. Moodle wants one, so never `ignore`.")
    lastname: Literal["own", "seed"] = Field("own", description="Last name; as the first.")
    email: Literal["own", "seed"] = Field(
        "own", description="E-mail address; as the names. Only a confirmed one is ever written."
    )
    idnumber: FieldMode = Field("seed", description="ID number; its content is `idnumber_from`.")
    lang: FieldMode = Field("ignore", description="Language. Moodle refuses one whose pack is not installed.")


class CustomField(Section):
    """A custom profile field that the bridge fills. It must exist in Moodle, which silently ignores unknown ones."""

    shortname: str = Field(pattern=r"^[A-Za-z0-9_]{1,100}$", description="The field's short name in Moodle.")
    holds: Source = Field(
        description="`email_confirmed` (1 or 0), `profile`, `username`, `key`, or `attribute:NAME` kept from the CAS."
    )
    mode: FieldMode = Field("own", description="As for the other fields.")


class SiteCohort(Section):
    """A cohort that belongs to the bridge: made when missing, its members kept by profile."""

    idnumber: str = Field(min_length=1, max_length=100, description="The cohort's ID number in Moodle.")
    name: str = Field(min_length=1, max_length=254, description="Its name, used when it is made.")
    profiles: tuple[Name, ...] = Field((), description="Profiles whose people are members. Empty: all.")


class Threshold(Section):
    """How many changes of a kind a run may make unasked: `percent` of the site's users, but at least `floor`."""

    percent: float = Field(ge=0, le=100, description="Percentage of the users known at the site, or of the accounts.")
    floor: int = Field(ge=0, description="A run with no more changes than this is never stopped.")


class Thresholds(Section):
    """One threshold for each kind of change."""

    close: Threshold = Field(Threshold(percent=3, floor=20), description="Suspending users.")
    park: Threshold = Field(
        Threshold(percent=3, floor=20), description="Renaming users of accounts that people joined to another one."
    )
    refresh: Threshold = Field(Threshold(percent=20, floor=100), description="Changing fields.")
    take: Threshold = Field(
        Threshold(percent=3, floor=20), description="Giving users a name or an address that another one had until now."
    )
    create: Threshold = Field(Threshold(percent=20, floor=100), description="Creating users.")
    open: Threshold = Field(Threshold(percent=10, floor=50), description="Lifting our own suspensions.")
    join: Threshold = Field(Threshold(percent=30, floor=200), description="Adding to cohorts.")
    leave: Threshold = Field(Threshold(percent=5, floor=50), description="Taking out of cohorts.")
    adopt: Threshold = Field(Threshold(percent=0, floor=0), description="Taking over users: always asks.")


class GuardOverride(Thresholds):
    """Other thresholds for some days, such as the start of term."""

    first_day: date = Field(description="First day, like `2026-09-01`.")
    last_day: date = Field(description="Last day, included.")

    @model_validator(mode="after")
    def _in_order(self) -> GuardOverride:
        if self.last_day < self.first_day:
            raise ValueError("last_day lies before first_day")
        return self


class Guard(Thresholds):
    """What stops a run before its first write."""

    overrides: tuple[GuardOverride, ...] = Field(
        (), description="Other thresholds for some days; the first that fits counts, and what it does not name stays."
    )

    def on(self, day: date) -> Thresholds:
        """The thresholds of a day. What an override does not name stays as it is on other days."""
        for override in self.overrides:
            if override.first_day <= day <= override.last_day:
                named = {
                    kind: getattr(override, kind) for kind in Thresholds.model_fields.keys() & override.model_fields_set
                }
                return Thresholds(**{kind: getattr(self, kind) for kind in Thresholds.model_fields} | named)
        return self


class Site(Section):
    """A Moodle that is kept in step."""

    name: Name = Field(description="Internal name.")
    url: HttpsUrl = Field(description="Moodle's `wwwroot`, exactly.")
    token: SecretStr = Field(min_length=1, description="Web service token of the bridge's user in Moodle.")
    plugin: Literal["cas", "casattras"] = Field(
        "cas", description="The CAS plugin in Moodle: `cas` (core up to 4.5, add-on later) or `casattras`."
    )
    auth: str = Field("", description="Auth method of our users in Moodle. Empty: the plugin's own.")
    connect_timeout: float = Field(3, gt=0, description="Seconds to reach Moodle.")
    read_timeout: float = Field(10, gt=0, description="Seconds to wait for an answer in a sign-in.")
    trust_minutes: int = Field(
        0,
        ge=0,
        description="How long a look-up that found the user in step is believed before looking again. 0: every ticket "
        "looks, so that nobody is sent to a Moodle that would refuse them.",
    )
    outage_hours: int = Field(
        72, ge=0, description="While Moodle's web service is down, people seen in step within this time still get in."
    )

    canary: str = Field(
        "",
        description="User name of an ordinary Moodle user, never changed, by which each run proves that the token sees "
        "what it should. Not the token's own user.",
    )
    creates: Literal["admitted", "entering"] = Field(
        "admitted",
        description="Who gets a Moodle user: everybody the gate admits (so that teachers can enrol them before they "
        "come), or only people who enter.",
    )
    registration: RegistrationMode = Field(
        "closed",
        description="How people without an account of the university get one here: not at all (`closed`), only when "
        "invited (`invitation`), or also by asking, with somebody deciding on each request (`moderated`). "
        "See `[registration]`.",
    )
    fields: SiteFields = Field(SiteFields(), description="See `[sites.fields]`.")
    idnumber_from: Source = Field(
        "key", description="What the ID number holds: `key` (the bridge's own key of the account), or `attribute:NAME`."
    )
    custom_fields: tuple[CustomField, ...] = Field((), description="See `[[sites.custom_fields]]`.")
    cohorts: tuple[SiteCohort, ...] = Field((), description="See `[[sites.cohorts]]`.")
    guard: Guard = Field(Guard(), description="See `[sites.guard]`.")
    protected: tuple[str, ...] = Field(
        (), description="Moodle user names the bridge never touches, besides the administrator, guest and token user."
    )
    adopts: tuple[str, ...] = Field(
        ("manual", "email", "ldap", "cas", "casattras"),
        description="Auth methods of Moodle users that `sync adopt` may take over.",
    )
    parallel_calls: int = Field(
        2, ge=1, le=4, description="Calls a run makes at once; no more than half of Moodle's PHP workers."
    )
    batch_timeout: float = Field(
        60, gt=0, description="Seconds to wait for a batch in a run. 50 new users take 4 s on a site of 30,000."
    )
    nightly: time | None = Field(
        time(2, 30), description="When the nightly run starts, in the university's time. Empty text: none."
    )

    @field_validator("nightly", mode="before")
    @classmethod
    def _no_night(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("cohorts")
    @classmethod
    def _distinct_cohorts(cls, value: tuple[SiteCohort, ...]) -> tuple[SiteCohort, ...]:
        keys = [strict_key(cohort.idnumber) for cohort in value]
        if len(set(keys)) != len(keys):
            raise ValueError("two cohorts have ID numbers that Moodle's database may take for the same")
        return value

    @cached_property
    def auth_method(self) -> str:
        return self.auth or self.plugin
