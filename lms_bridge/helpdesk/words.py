"""How the help desk's pages say where an account stands: one word, its colour and its icon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from external_accounts import activation, extensions, lost_identifiers, proofs, recovery, registration_steps
from external_accounts.accounts import AccountFacts
from lms_bridge import gate
from lms_bridge.gate import Obstacle, Policy
from lms_bridge.i18n import N_, current_locale, format_moment
from lms_bridge.i18n import gettext as _
from lms_bridge.web.request import runtime

Kind = Literal["good", "wait", "closed"]

OBSTACLES: Mapping[Obstacle, str] = {
    Obstacle.ERASED: N_("erased"),
    Obstacle.MERGED: N_("joined to another account"),
    Obstacle.SUSPENDED: N_("suspended"),
    Obstacle.RIGHTS_ENDED: N_("rights ended"),
    Obstacle.PROFILE_NOT_ALLOWED: N_("not open to this profile"),
    Obstacle.NOT_ACTIVATED: N_("not activated yet"),
    Obstacle.NO_ADDRESS: N_("no e-mail address"),
    Obstacle.ADDRESS_UNCONFIRMED: N_("e-mail not confirmed"),
    Obstacle.CHARTER_NOT_ACCEPTED: N_("charter not accepted"),
    Obstacle.MOODLE_CONFLICT: N_("conflict in Moodle: somebody must look"),
    Obstacle.MOODLE_SUSPENDED: N_("suspended in Moodle, by somebody there"),
    Obstacle.BEING_PREPARED: N_("being prepared in Moodle"),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A word about an account."""

    words: str
    kind: Kind

    @property
    def icon(self) -> str:
        return {"good": "check", "wait": "wait", "closed": "closed"}[self.kind]


_CLOSED = frozenset({Obstacle.ERASED, Obstacle.MERGED, Obstacle.SUSPENDED, Obstacle.RIGHTS_ENDED})


def mark_of(facts: AccountFacts, now: datetime) -> Mark:
    """What stands in the account's way everywhere, or that nothing does."""
    decision = gate.decide(facts, Policy(), now)
    if decision.admitted:
        return Mark(_("active"), "good")
    return Mark(_(OBSTACLES[decision.first]), "closed" if decision.first in _CLOSED else "wait")


def in_words(obstacles: tuple[Obstacle, ...]) -> list[str]:
    """The obstacles, each as the help desk says it."""
    return [_(OBSTACLES[obstacle]) for obstacle in obstacles]


PURPOSES: Mapping[str, str] = {
    proofs.CONFIRM_ADDRESS: N_("confirm an address"),
    proofs.UNDO_ADDRESS_CHANGE: N_("undo a change of address"),
    proofs.KEEP_ACCOUNT: N_("keep the account after all"),
    registration_steps.PROVE_ADDRESS: N_("ask for an account"),
    registration_steps.CHOOSE_PASSWORD: N_("finish a registration"),
    recovery.RESET_PASSWORD: N_("choose a new password"),
    lost_identifiers.RECOVER_IDENTIFIER: N_("find a lost identifier"),
    activation.ACTIVATE: N_("activate the account"),
    activation.ACTIVATE_AGAIN: N_("activate the account (asked for again)"),
    extensions.DECIDE_EXTENSION: N_("decide on a request for more time"),
}
MAILS: Mapping[str, str] = {
    "activate": N_("activate the account"),
    "activated": N_("the account is activated"),
    "activation_over": N_("the account cannot be activated any more"),
    "address_changed": N_("an address was changed"),
    "address_undone": N_("a change of address was undone"),
    "check_reminder": N_("are your details right?"),
    "confirm_address": N_("confirm an address"),
    "confirm_forwarding": N_("confirm a forwarding address"),
    "erasure_asked": N_("the deletion was asked for"),
    "erasure_done": N_("the account is deleted"),
    "erasure_taken_back": N_("the account is kept after all"),
    "erasure_warning": N_("the account will be deleted"),
    "extension_accepted": N_("more time: granted"),
    "extension_refused": N_("more time: refused"),
    "extension_waiting": N_("more time: under way"),
    "forwarding_changed": N_("the forwarding was changed"),
    "lost_identifier": N_("the lost identifier"),
    "new_device": N_("a sign-in from a new device"),
    "password_changed": N_("the password was changed"),
    "password_unsure": N_("the password may have been changed"),
    "reset_password": N_("choose a new password"),
    "rights_warning": N_("the rights will end"),
    "why": N_("why the person cannot enter"),
}
MAIL_STATES: Mapping[str, tuple[str, Kind]] = {
    "pending": (N_("waits to be sent"), "wait"),
    "sent": (N_("taken by the mail server"), "good"),
    "bounced": (N_("came back"), "closed"),
    "failed": (N_("refused by a mail server"), "closed"),
    "expired": (N_("not sent: of no use any more"), "wait"),
}
"""In words, and the kind of the mark."""
MIRROR_STATES: Mapping[str, tuple[str, Kind]] = {
    "pending": (N_("to be written at the next sign-in or run"), "wait"),
    "in_step": (N_("in step"), "good"),
    "conflict": (N_("conflict: somebody must look"), "closed"),
    "suspended_elsewhere": (N_("suspended in Moodle, by somebody there"), "closed"),
}
CASE_STATES: Mapping[str, str] = {
    "unproved": N_("address not confirmed yet"),
    "waiting": N_("waits for a decision"),
    "accepted": N_("accepted"),
    "done": N_("done"),
    "refused": N_("refused"),
    "withdrawn": N_("withdrawn"),
    "over": N_("over: the end of the account came first"),
}
"""Of registrations and extensions."""


def short(moment: datetime) -> str:
    """A moment in short, in the university's zone: these pages show dozens."""
    return format_moment(moment, runtime().settings.zone, current_locale())


def said(words: Mapping[str, str], name: str) -> str:
    """The name in words; what a later version adds stands there as it is."""
    return _(words[name]) if name in words else name


def marked(words: Mapping[str, tuple[str, Kind]], name: str) -> Mark:
    text, kind = words.get(name, (name, "wait"))
    return Mark(_(text), kind)
