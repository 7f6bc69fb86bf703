"""The settings of what people choose about their university mailbox, and of what they read about a second factor."""

from __future__ import annotations

from pydantic import Field, field_validator

from lms_bridge.settings.sections import Label, Link, Name, Section


class AntispamLevel(Section):
    """One level that people may choose."""

    name: Name = Field(max_length=20, description="What is handed to the university’s systems.")
    label: Label = Field(description="What people read.")


class Mailbox(Section):
    """The university mailbox of people whose profile has one. The university runs it; the bridge hands choices on."""

    text: Label = Field(
        {
            "fr": "Les messages de l’université vous parviennent à votre adresse de l’université.",
            "en": "Messages of the university reach you at your university address.",
        },
        description="What people read about their mailbox during activation.",
    )
    url: Link = Field("", description="Where it is read (webmail).")
    antispam_levels: tuple[AntispamLevel, ...] = Field(
        (), description="Levels of the spam filter to choose from; see [[mailbox.antispam_levels]]. Empty: no choice."
    )

    @field_validator("antispam_levels")
    @classmethod
    def _told_apart(cls, value: tuple[AntispamLevel, ...]) -> tuple[AntispamLevel, ...]:
        if len({level.name for level in value}) != len(value):
            raise ValueError("two levels have the same name")
        return value


class SecondFactor(Section):
    """What people read about signing in with a second factor (MFA), which the university’s CAS asks for."""

    text: Label = Field(description="A few sentences: who needs it, and how to begin.")
    url: Link = Field("", description="The university’s page about it.")
