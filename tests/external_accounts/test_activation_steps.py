"""Whatever somebody answers, in whatever order: nothing is lost, nobody gets ahead, the end is reached complete."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from external_accounts.activation_steps import (
    Choices,
    Offer,
    Step,
    Wrong,
    chosen,
    current,
    is_answered,
    may_open,
    read,
    steps,
    wrong,
)

OWN = "nora@univ.example"
offers = st.builds(
    Offer,
    charter=st.sampled_from(["", "2026-09"]),
    listing=st.booleans(),
    mailbox=st.sampled_from(["box", "forward", "none"]),
    own=st.just(frozenset({OWN})),
)
forms = st.fixed_dictionaries(
    {},
    optional={
        "charter": st.sampled_from(["1", ""]),
        "directory": st.sampled_from(["yes", "no", "maybe"]),
        "forward": st.sampled_from(["yes", "no", "on"]),
        "forward_to": st.sampled_from(["nora@mail.example", "NORA@univ.example", "nora@", "", "x" * 500]),
        "keep_copy": st.sampled_from(["yes", "1"]),
        "password": st.just("never kept"),
    },
)
walks = st.lists(st.tuples(st.sampled_from(list(Step)), forms), max_size=12)
GOOD = {"charter": "1", "directory": "yes", "forward": "yes", "forward_to": "nora@mail.example", "keep_copy": "yes"}


def walked(offer: Offer, walk: list[tuple[Step, dict[str, str]]]) -> dict[str, Any]:
    """The answers after somebody sent these forms, each where it may be sent."""
    answers: dict[str, Any] = {}
    for step, form in walk:
        if may_open(step, answers, offer):
            answers |= read(step, form, offer)
    return answers


@given(offers, walks)
def test_a_step_is_open_when_everything_before_it_is_answered_and_never_otherwise(offer: Offer, walk: Any) -> None:
    answers = walked(offer, walk)
    path = steps(offer)
    for index, step in enumerate(path[:-1]):
        before = all(is_answered(earlier, answers, offer) for earlier in path[:index])
        assert may_open(step, answers, offer) == before
    assert not may_open(Step.DONE, answers, offer)
    assert not any(may_open(step, answers, offer) for step in Step if step not in path)


@given(offers, walks)
def test_it_is_complete_exactly_when_nothing_holds_up(offer: Offer, walk: Any) -> None:
    answers = walked(offer, walk)
    complete = all(is_answered(step, answers, offer) for step in steps(offer)[:-2])
    choices = chosen(answers, offer)
    assert (choices is not None) == complete == (current(answers, offer) is Step.PASSWORD)
    if choices is not None:
        assert offer.listing or not choices.listed
        assert choices.forward_to is None or choices.forward_to.key not in offer.own
        assert offer.mailbox != "forward" or choices.forward_to is not None
        assert offer.mailbox != "none" or choices == Choices(choices.listed, None, keep_copy=False)


@given(offers, walks, st.lists(st.sampled_from(list(Step)), max_size=6))
def test_going_back_and_forth_loses_nothing(offer: Offer, walk: Any, looked_at: list[Step]) -> None:
    answers = walked(offer, walk)
    again = dict(answers)
    for step in looked_at:
        if may_open(step, again, offer) and step is not Step.PASSWORD:
            sent = {name: "yes" if again.get(name) else "no" for name in ("charter", "directory", "forward")}
            sent |= {"forward_to": str(again.get("forward_to", ""))}
            sent |= {"keep_copy": "yes"} if again.get("keep_copy") else {}
            # The page shows what was answered; sending it unchanged answers the same.
            if step.value in again or (step is Step.FORWARDING and "forward" in again):
                again |= read(step, sent, offer)
    assert again == answers


@given(offers, walks)
def test_from_anywhere_the_end_is_reached_by_answering_what_is_asked(offer: Offer, walk: Any) -> None:
    answers = walked(offer, walk)
    for _ in steps(offer):
        answers |= read(current(answers, offer), GOOD, offer)
    assert chosen(answers, offer) is not None


@given(offers, walks)
def test_the_password_is_in_no_answer(offer: Offer, walk: Any) -> None:
    assert "never kept" not in str(walked(offer, walk))


def test_a_new_version_of_the_charter_is_asked_for_again() -> None:
    old, new = Offer(charter="2026-09"), Offer(charter="2027-01")
    answers = {"identity": True} | read(Step.CHARTER, {"charter": "1"}, old)
    assert current(answers, old) is Step.PASSWORD
    assert wrong(Step.CHARTER, answers, new) is Wrong.CHARTER
    assert current(answers, new) is Step.CHARTER


def test_mail_does_not_go_round_in_circles() -> None:
    offer = Offer(mailbox="box", own=frozenset({OWN}))
    answers = read(Step.FORWARDING, {"forward": "yes", "forward_to": " Nora@UNIV.example "}, offer)
    assert wrong(Step.FORWARDING, answers, offer) is Wrong.LOOP
