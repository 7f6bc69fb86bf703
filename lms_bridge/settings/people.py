"""The settings of what people of the university do alone, and of what is handed on about them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lms_bridge.settings.sections import Label, Name, Section


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
