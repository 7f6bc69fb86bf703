"""The settings of what other systems of the university are told. Field descriptions are the reference page's text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from external_accounts import handovers
from lms_bridge.settings.sections import HttpsUrl, Name, Section

HookEvent = Literal[
    "account.activated",
    "account.ended",
    "account.erased",
    "account.revived",
    "mailbox.changed",
    "listing.changed",
]
LEAST_SECRET = 32


class Hook(Section):
    """A program of the university that is told of changes of accounts. See `docs/reference/hooks.md`."""

    name: Name = Field(description="Internal name; its deliveries are kept under it. Never change it.")
    url: HttpsUrl = Field(description="Where it takes them, by POST. Redirects are not followed.")
    secrets: tuple[SecretStr, ...] = Field(
        min_length=1,
        max_length=3,
        description="Secrets that sign each delivery, at least 32 characters each. To rotate: add the new one, let the "
        "program take either, drop the old one.",
    )
    events: tuple[HookEvent, ...] = Field(
        (), description="Which changes: `" + "`, `".join(handovers.EVENTS) + "`. Empty: all of them."
    )
    timeout: float = Field(10, ge=1, le=30, description="Seconds to wait for its answer.")

    @field_validator("secrets")
    @classmethod
    def _long_secrets(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(secret.get_secret_value()) < LEAST_SECRET for secret in value):
            raise ValueError("each secret needs at least 32 characters; `openssl rand -hex 32` writes one")
        return value
