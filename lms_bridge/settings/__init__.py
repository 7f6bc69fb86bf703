"""Settings: one typed object, read once at start from a TOML file and the environment.

The environment wins over the file. Names in the environment are `LMS_BRIDGE_` plus the field's name in capitals, with
two underscores between levels (`LMS_BRIDGE_MAIL__HOST`). A missing or wrong value stops the start with the name of the
setting and what to write; nothing is guessed.

The field descriptions below are the reference page (`docs/reference/settings.md`).
"""

from __future__ import annotations

import os
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_serializer, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSource
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from lms_bridge.settings.directories import Directory
from lms_bridge.settings.help_desk import HelpDesk
from lms_bridge.settings.hooks import Hook
from lms_bridge.settings.lifecycle import Lifecycle
from lms_bridge.settings.mailbox import Mailbox, SecondFactor
from lms_bridge.settings.moodle_sites import RegistrationMode, Site
from lms_bridge.settings.people import LOST_IDENTIFIERS, Duplicates, Imports, Letters, LostIdentifier, Profile
from lms_bridge.settings.registration import Registration
from lms_bridge.settings.sections import (
    Audit,
    Charter,
    File,
    Institution,
    Jobs,
    Local,
    Mail,
    Passwords,
    Recovery,
    Reminders,
    Service,
    Sessions,
    Throttle,
    Upstream,
)
from lms_bridge.settings.web_addresses import check_https

DATABASES = ("sqlite:///", "postgresql+psycopg://")

PREFIX = "LMS_BRIDGE_"
NO_SETTINGS = frozenset({"CONFIG", "DEMO_PORT", "REQUIRE_SERVICES"})
"""Environment names of ours that are no settings: where the file is, the demo's port, what tests may not skip."""
LIVE_TESTS = "LIVE_"
"""What the names begin with that tell tests of a real Moodle."""


class SettingsError(Exception):
    """The settings cannot be used. The text names each setting and says what to write."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    public_url: str = Field(
        description="The address people use, e.g. `https://connexion.univ.example`. All links are built from it alone."
    )
    secret_keys: tuple[SecretStr, ...] = Field(
        min_length=1,
        description="Secrets that sign and derive, newest first, at least 32 characters each. "
        "To rotate: put a new one first, drop the old one after two days.",
    )
    database_url: str = Field(
        "sqlite:///lms-bridge.db", description="`sqlite:///path` or `postgresql+psycopg://user:password@host/name`."
    )
    time_zone: str = Field("Europe/Paris", description="The university's time zone, for deadlines and screens.")
    default_language: Literal["fr", "en"] = Field("fr", description="Language when neither person nor browser chose.")
    confirmation_hours: int = Field(24, ge=1, le=24, description="How long an address confirmation can be used.")
    ticket_seconds: int = Field(60, ge=5, le=300, description="Life of an unused service ticket (CAS-20).")
    proxy_hours: int = Field(2, ge=1, le=24, description="Life of a proxy-granting ticket, at most its session's.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level written.")
    log_format: Literal["json", "console"] = Field("json", description="`json` lines, or `console` for people.")
    institution: Institution = Field(description="See `[institution]`.")
    mail: Mail = Field(description="See `[mail]`.")
    sessions: Sessions = Field(Sessions(), description="See `[sessions]`.")
    reminders: Reminders = Field(Reminders(), description="See `[reminders]`.")
    audit: Audit = Field(Audit(), description="See `[audit]`.")
    throttle: Throttle = Field(Throttle(), description="See `[throttle]`.")
    jobs: Jobs = Field(Jobs(), description="See `[jobs]`.")
    local: Local = Field(Local(), description="See `[local]`.")
    passwords: Passwords = Field(Passwords(), description="See `[passwords]`.")
    registration: Registration = Field(Registration(), description="See `[registration]`.")
    help_desk: HelpDesk = Field(HelpDesk(), description="See `[help_desk]`.")
    lifecycle: Lifecycle = Field(Lifecycle(), description="See `[lifecycle]`.")
    recovery: Recovery = Field(Recovery(), description="See `[recovery]`.")
    charter: Charter | None = Field(None, description="See `[charter]`.")
    mailbox: Mailbox = Field(Mailbox(), description="See `[mailbox]`.")
    mfa: SecondFactor | None = Field(None, description="See `[mfa]`.")
    upstreams: tuple[Upstream, ...] = Field((), description="See `[[upstreams]]`.")
    profiles: tuple[Profile, ...] = Field((), description="See `[[profiles]]`.")
    directories: tuple[Directory, ...] = Field((), description="See `[[directories]]`.")
    imports: Imports = Field(Imports(), description="See `[imports]`.")
    duplicates: Duplicates = Field(Duplicates(), description="See `[duplicates]`.")
    lost_identifiers: tuple[LostIdentifier, ...] = Field(LOST_IDENTIFIERS, description="See `[[lost_identifiers]]`.")
    letters: Letters = Field(Letters(), description="See `[letters]`.")
    hooks: tuple[Hook, ...] = Field((), description="See `[[hooks]]`.")
    services_ca_file: File | None = Field(
        None,
        description="CA bundle to verify applications with (logout messages, proxy callbacks, hooks), if not "
        "the usual.",
    )
    services: tuple[Service, ...] = Field((), description="See `[[services]]`.")
    sites: tuple[Site, ...] = Field((), description="See `[[sites]]`.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (pydantic-settings calls by these names)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The file's values arrive as init arguments (see `load`): the environment has to win over them.
        return env_settings, init_settings

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("write scheme and host only, like `https://connexion.univ.example`")
        return check_https(value).rstrip("/")

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones
            raise ValueError("no such time zone; write it like `Europe/Paris`") from None
        return value

    @field_validator("secret_keys")
    @classmethod
    def _long_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < 32 for key in value):
            raise ValueError("each key needs at least 32 characters; `openssl rand -hex 32` writes one")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        try:
            known = make_url(value).drivername in ("sqlite", "postgresql+psycopg") and value.startswith(DATABASES)
        except (ArgumentError, ValueError):
            known = False
        if not known:
            raise ValueError("write `sqlite:///path` or `postgresql+psycopg://user:password@host/name`")
        return value

    @field_serializer("database_url")
    def _without_password(self, value: str) -> str:
        return make_url(value).render_as_string(hide_password=True)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        for kind, names in (
            ("upstreams", [upstream.issuer for upstream in self.upstreams]),
            ("services", [service.name for service in self.services]),
            ("sites", [site.name for site in self.sites]),
            ("profiles", [profile.name for profile in self.profiles]),
            ("directories", [directory.name for directory in self.directories]),
            ("hooks", [hook.name for hook in self.hooks]),
            ("lost_identifiers", [choice.name for choice in self.lost_identifiers]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{kind}: two entries have the same name")
        sites = {site.name for site in self.sites}
        for service in self.services:
            if service.site is not None and service.site not in sites:
                raise ValueError(f"services.{service.name}.site: there is no [[sites]] entry called `{service.site}`")
            if service.charter and self.charter is None:
                raise ValueError(f"services.{service.name}.charter: a [charter] section is needed")
            if self.profiles and (unknown := set(service.profiles) - {profile.name for profile in self.profiles}):
                missing = ", ".join(sorted(unknown))
                raise ValueError(f"services.{service.name}.profiles: there is no [[profiles]] entry called {missing}")
        self._consistent_registration()
        self._consistent_profiles()
        if not self.upstreams and not self.local.enabled:
            raise ValueError("nobody could sign in: configure [[upstreams]], or set local.enabled = true")
        return self

    def _consistent_registration(self) -> None:
        for issuer, attribute, _value in (entry.rule for entry in self.help_desk.members if entry.rule):
            upstream = self.upstream(issuer)
            if upstream is None or attribute not in upstream.keep:
                place = f"`keep` of an [[upstreams]] entry `{issuer}`"
                raise ValueError(f"help_desk.members: `{attribute}` must be among {place}")
        kept = {name for upstream in self.upstreams for name in upstream.keep}
        if unkept := set(self.duplicates.person_key_attributes) - kept:
            names = ", ".join(sorted(unkept))
            raise ValueError(f"duplicates.person_key_attributes: no [[upstreams]] entry has {names} among its `keep`")
        if self.registration_mode(None) == "closed":
            return
        if not self.local.enabled:
            raise ValueError("sites: registration needs accounts kept here: set local.enabled = true")
        if not self.registration.proposes_within(re.compile(self.local.username_pattern)):
            raise ValueError("registration.username_form: its names do not lie within local.username_pattern")
        named = {self.registration.profile, *self.registration.sponsors}
        if self.profiles and (unknown := named - {profile.name for profile in self.profiles}):
            raise ValueError(f"registration: there is no [[profiles]] entry called {', '.join(sorted(unknown))}")

    def _consistent_profiles(self) -> None:
        proposed = self.imports.username_form.format(given="ada", family="lovelace", initial="a")
        if re.fullmatch(self.local.username_pattern, proposed):
            raise ValueError(
                "imports.username_form: its names lie within local.username_pattern, which is for accounts kept here"
            )
        directories = {directory.name for directory in self.directories}
        for profile in self.profiles:
            if profile.directory is not None and profile.directory not in directories:
                name = profile.directory
                raise ValueError(f"profiles.{profile.name}.directory: there is no [[directories]] entry called {name}")
            if profile.issuer is not None and self.upstream(profile.issuer) is None:
                raise ValueError(
                    f"profiles.{profile.name}.issuer: there is no [[upstreams]] entry called {profile.issuer}"
                )
            if profile.directory is not None and profile.issuer is None:
                raise ValueError(f"profiles.{profile.name}.issuer: a directory's people sign in through a CAS; name it")

    def registration_mode(self, service: Service | None) -> RegistrationMode:
        """How people register for the Moodle behind `service`; without one, the most open way of all sites."""
        sites = [self.site(service.site)] if service is not None and service.site else self.sites
        modes = {site.registration for site in sites}
        return "moderated" if "moderated" in modes else "invitation" if "invitation" in modes else "closed"

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @cached_property
    def secure(self) -> bool:
        """Whether people reach us by https. Plain http is for loopback only: the demo and tests."""
        return self.public_url.startswith("https://")

    @cached_property
    def public_host(self) -> str:
        return urlsplit(self.public_url).hostname or ""

    def site(self, name: str) -> Site:
        return next(site for site in self.sites if site.name == name)

    def service(self, name: str) -> Service:
        return next(service for service in self.services if service.name == name)

    def profile(self, name: str) -> Profile:
        """The profile of that name; one that nobody configured has the plain policy."""
        found = next((profile for profile in self.profiles if profile.name == name), None)
        return found or Profile.model_construct(name=name, label={"fr": name, "en": name})

    @cached_property
    def lost_choices(self) -> tuple[LostIdentifier, ...]:
        """The answers to choose from on the page of lost identifiers: those that mean a profile there is."""
        there = {profile.name for profile in self.profiles}
        return tuple(choice for choice in self.lost_identifiers if there.intersection(choice.profiles))

    def upstream(self, issuer: str) -> Upstream | None:
        return next((upstream for upstream in self.upstreams if upstream.issuer == issuer), None)


def load(path: Path | None = None) -> Settings:
    """Read the settings from `path` (TOML; default `$LMS_BRIDGE_CONFIG`) and the environment.

    Raises:
        SettingsError: naming each wrong or missing setting and what to write.
    """
    if path is None and (named := os.environ.get("LMS_BRIDGE_CONFIG")):
        path = Path(named)
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(
                f"{path}: cannot be read ({error.strerror}); name a readable file with --config"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: not a TOML file: {error}") from None
    return build(values, source=str(path or "environment"))


def build(values: dict[str, Any], *, source: str = "settings") -> Settings:
    """Settings from already parsed values; the environment still wins.

    Raises:
        SettingsError: as `load`.
    """
    lines = _unknown_environment()
    settings: Settings | None = None
    try:
        settings = Settings(**values)
    except ValidationError as error:
        lines += [_explain(detail) for detail in error.errors(include_url=False, include_input=False)]
    except UnreadableSource as error:
        field = "".join(re.findall(r'field "(\w+)"', str(error)))
        lines.append(f"  {field}: {PREFIX}{field.upper()} is not JSON; write lists and sections there as JSON.")
    if settings is None or lines:
        raise SettingsError("\n".join([f"The settings cannot be used ({source}):", *lines]))
    return settings


def _unknown_environment() -> list[str]:
    """A line for each `LMS_BRIDGE_…` of the environment that is no setting: a typing error must not pass unseen."""
    names = sorted(name for name in os.environ if name.upper().startswith(PREFIX))
    known = {field.upper() for field in Settings.model_fields} | NO_SETTINGS
    return [
        f"  {name}: there is no such setting. Look for a typing error, or see docs/reference/settings.md."
        for name in names
        if (field := name.upper().removeprefix(PREFIX)).split("__")[0] not in known and not field.startswith(LIVE_TESTS)
    ]


def _explain(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    message = str(detail["msg"]).removeprefix("Value error, ")
    environment = PREFIX + "__".join(str(part).upper() for part in detail["loc"])
    in_list = any(isinstance(part, int) for part in detail["loc"])  # a list's entry has no name in the environment
    match detail["type"]:
        case "missing":
            return f"  {where}: missing. {_description(detail['loc'])}{'' if in_list else f' Or set {environment}.'}"
        case "extra_forbidden":
            return f"  {where}: there is no such setting. Look for a typing error, or see docs/reference/settings.md."
        case "tuple_type":
            message = "write a list"
        case "too_short":
            message = "must not be empty"
    return f"  {where}: {message}." if where else f"  {message}."


def _description(location: tuple[Any, ...]) -> str:
    model: Any = Settings
    text = ""
    for part in location:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            continue
        text = field.description or ""
        model = next(
            (
                kind
                for kind in (field.annotation, *getattr(field.annotation, "__args__", ()))
                if hasattr(kind, "model_fields")
            ),
            None,
        )
    return text
