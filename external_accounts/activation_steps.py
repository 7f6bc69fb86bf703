"""The steps of an activation: which there are for somebody, which may be opened, what an answer must be like.

Values only: answers are a mapping that can be kept as JSON, so that they can be gone on with elsewhere. Whatever was
typed stays, right or wrong; what is wrong holds up at its step. The password is in no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from external_accounts.addresses import EmailAddress, InvalidAddress, parse_address

Answers = Mapping[str, Any]
LONGEST = 254
YES = frozenset({"1", "yes", "on", "true"})


class Step(StrEnum):
    """In their order."""

    IDENTITY = "identity"
    CHARTER = "charter"
    DIRECTORY = "directory"
    MAILBOX = "mailbox"
    FORWARDING = "forwarding"
    PASSWORD = "password"  # noqa: S105 (the name of a step)
    DONE = "done"


class Wrong(StrEnum):
    """What an answer can lack, by the field it belongs to."""

    CHARTER = "charter"
    FORWARD_TO = "forward_to"
    LOOP = "loop"


@dataclass(frozen=True, slots=True)
class Offer:
    """What there is to choose for somebody."""

    charter: str = ""
    """The version to accept; empty: none."""
    listing: bool = False
    """Whether they are asked about the public directory."""
    mailbox: str = "none"
    """`box`, `forward` or `none`: see `ProfilePolicy`."""
    own: frozenset[str] = frozenset()
    """Keys of their university addresses: forwarded there, mail would go round in circles."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen, complete."""

    listed: bool
    forward_to: EmailAddress | None
    keep_copy: bool


def steps(offer: Offer) -> tuple[Step, ...]:
    """The steps somebody goes through, in order."""
    left_out = set()
    if not offer.charter:
        left_out.add(Step.CHARTER)
    if not offer.listing:
        left_out.add(Step.DIRECTORY)
    if offer.mailbox == "none":
        left_out |= {Step.MAILBOX, Step.FORWARDING}
    return tuple(step for step in Step if step not in left_out)


def read(step: Step, form: Mapping[str, str], offer: Offer) -> dict[str, Any]:
    """The answers that the form of `step` gives, right or wrong."""
    match step:
        case Step.IDENTITY | Step.MAILBOX:
            return {step.value: True}
        case Step.CHARTER:
            return {"charter": offer.charter if _is_yes(form, "charter") else ""}
        case Step.DIRECTORY:
            return {"directory": _is_yes(form, "directory")}
        case Step.FORWARDING:
            return {
                "forward": offer.mailbox == "forward" or _is_yes(form, "forward"),
                "forward_to": form.get("forward_to", "").strip()[:LONGEST],
                "keep_copy": _is_yes(form, "keep_copy"),
            }
        case Step.PASSWORD | Step.DONE:
            return {}


def _is_yes(form: Mapping[str, str], name: str) -> bool:
    return form.get(name, "").strip().lower() in YES


def wrong(step: Step, answers: Answers, offer: Offer) -> Wrong | None:
    """What holds up at `step`; None when it is answered."""
    match step:
        case Step.CHARTER if answers.get("charter") != offer.charter:
            return Wrong.CHARTER
        case Step.FORWARDING if answers.get("forward"):
            return wrong_forwarding(str(answers.get("forward_to", "")), offer.own)
        case _:
            return None


def wrong_forwarding(typed: str, own: frozenset[str]) -> Wrong | None:
    """Whether mail of the university may be forwarded to what was typed."""
    try:
        address = parse_address(typed)
    except InvalidAddress:
        return Wrong.FORWARD_TO
    return Wrong.LOOP if address.key in own else None


def is_answered(step: Step, answers: Answers, offer: Offer) -> bool:
    """The last two steps are not answered: the password ends it all."""
    if step in (Step.PASSWORD, Step.DONE):
        return False
    field = "forward" if step is Step.FORWARDING else step.value
    return field in answers and wrong(step, answers, offer) is None


def current(answers: Answers, offer: Offer) -> Step:
    """Where somebody goes on: the first step that is not answered."""
    return next(step for step in steps(offer) if not is_answered(step, answers, offer))


def may_open(step: Step, answers: Answers, offer: Offer) -> bool:
    """Whether everything before `step` is answered. Nobody opens the end: it comes."""
    path = steps(offer)
    return step is not Step.DONE and step in path and path.index(step) <= path.index(current(answers, offer))


def chosen(answers: Answers, offer: Offer) -> Choices | None:
    """What was chosen, once everything is answered; None before."""
    if current(answers, offer) is not Step.PASSWORD:
        return None
    forwards = Step.FORWARDING in steps(offer) and answers["forward"]
    return Choices(
        listed=offer.listing and bool(answers["directory"]),
        forward_to=parse_address(str(answers["forward_to"])) if forwards else None,
        keep_copy=offer.mailbox == "box" and bool(answers.get("keep_copy", True)),
    )
