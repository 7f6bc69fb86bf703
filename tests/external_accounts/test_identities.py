"""Who is who: subjects, identifiers, and sign-ins that never join accounts by an e-mail address."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import USERNAME_PATTERN, Person, UsernameTaken, account_by_username, account_facts
from external_accounts.addresses import parse_address, primary_address, set_primary_address
from external_accounts.database import Database
from external_accounts.identities import (
    Assertion,
    SubjectRefused,
    canonical_identifier,
    canonical_subject,
    create_local_account,
    find_local_credential,
    sign_in_with_assertion,
)
from external_accounts.keys import Keys
from external_accounts.proofs import CONFIRM_ADDRESS, about, claim_by_link, request_proof
from external_accounts.schema import Account, Address, AuditEvent, SignInIdentity
from tests.external_accounts.conftest import NOW

LOCAL_NAMES = re.compile(r"ext\.[a-z0-9._-]{1,90}")
SEL = Assertion(issuer="sel", subject="jdupont", person=Person("Jean", "Dupont"), email="jean.dupont@univ.example")
AddPerson = Callable[..., int]


def sign_in(database: Database, assertion: Assertion, trusted: tuple[str, ...] = ()) -> int:
    with database.begin() as session:
        account, _ = sign_in_with_assertion(session, assertion, trusted_domains=trusted, now=NOW, origin=audit.SYSTEM)
        return account.id


def confirm(session: Session, address: Address) -> None:
    """By a proof: nothing else may (I4)."""
    hour = timedelta(hours=1)
    proof, _ = request_proof(
        session,
        Keys(["k" * 40]),
        about(address),
        purpose=CONFIRM_ADDRESS,
        lifetime=hour,
        service=None,
        locale="fr",
        now=NOW,
    )
    claim_by_link(session, proof.id, now=NOW, origin=audit.SYSTEM)


def facts(database: Database, account_id: int) -> Any:
    found = account_facts(database, account_id)
    assert found is not None
    return found


# --- the one form of a subject ---


@pytest.mark.parametrize(
    "hostile",
    [
        "\u212aarim",  # KELVIN SIGN lower-cases to k
        "jos\u00e9",
        "\u0131smail",  # dotless i
        "jdupont\u200b",
        "\uff4adupont",
        "j dupont",
        " jdupont",
        "jdupont\n",
        "jdupont\0",
        "",
        "a" * 101,
        "jdupont/admin",
        "<b>",
        "'--",
    ],
)
def test_a_subject_with_other_characters_is_refused_before_it_is_folded_i12(hostile: str) -> None:
    with pytest.raises(SubjectRefused):
        canonical_subject(hostile, local_names=LOCAL_NAMES)


@pytest.mark.parametrize("reserved", ["ext.ada", "EXT.Ada", "Ext.a.b-c_d"])
def test_lnk_06_no_cas_may_bring_a_name_reserved_for_local_accounts(reserved: str) -> None:
    with pytest.raises(SubjectRefused):
        canonical_subject(reserved, local_names=LOCAL_NAMES)


def test_capitals_typed_at_the_cas_are_the_same_person_d32() -> None:
    assert canonical_subject("JDupont", local_names=LOCAL_NAMES) == "jdupont"


@given(st.text(max_size=120))
def test_every_accepted_subject_may_be_asserted_to_moodle_i12(text: str) -> None:
    try:
        subject = canonical_subject(text, local_names=LOCAL_NAMES)
    except SubjectRefused:
        return
    assert USERNAME_PATTERN.fullmatch(subject)
    assert not LOCAL_NAMES.fullmatch(subject)
    assert canonical_subject(subject, local_names=LOCAL_NAMES) == subject


# --- sign-ins that a CAS vouches for ---


def test_the_first_sign_in_makes_an_account_and_the_next_one_refreshes_it(database: Database) -> None:
    first = sign_in(database, SEL)
    moved = replace(SEL, person=Person("Jean", "Dupont-Martin"), attributes={"unit": "maths"})
    assert sign_in(database, moved) == first
    known = facts(database, first)
    assert (known.username, known.display_name, known.email) == (
        "jdupont",
        "Jean Dupont-Martin",
        "jean.dupont@univ.example",
    )
    with database.read() as session:
        assert session.scalars(select(SignInIdentity.attributes)).all() == [{"unit": "maths"}]


def test_a_refresh_without_names_or_address_loses_nothing(database: Database) -> None:
    account_id = sign_in(database, SEL)
    before = facts(database, account_id)
    sign_in(database, replace(SEL, person=Person(), email="not an address"))
    assert facts(database, account_id) == before


def test_an_unchanged_sign_in_is_no_change_for_moodle(database: Database) -> None:
    account_id = sign_in(database, SEL)
    before = facts(database, account_id).version
    sign_in(database, SEL)
    sign_in(database, replace(SEL, email="Jean.Dupont@UNIV.example"))
    assert facts(database, account_id).version == before


def test_lnk_01_equal_mail_never_joins_a_local_account(database: Database, add_person: AddPerson) -> None:
    """I5."""
    local = add_person(database, "ext.jean", "jean.dupont@univ.example")
    with database.begin() as session:
        address = primary_address(session.get_one(Account, local))
        assert address is not None
        confirm(session, address)
    through_cas = sign_in(database, SEL, trusted=("univ.example",))
    assert through_cas != local
    with database.read() as session:
        owners = {one.subject: one.account_id for one in session.scalars(select(SignInIdentity))}
    assert owners == {"ext.jean": local, "jdupont": through_cas}


def test_lnk_05_the_mail_a_cas_releases_is_data_and_no_proof(database: Database) -> None:
    assert facts(database, sign_in(database, SEL)).email_confirmed_at is None


@pytest.mark.parametrize(
    ("email", "confirmed"),
    [
        ("jean@univ.example", True),
        ("Jean@UNIV.EXAMPLE", True),
        ("jean@etu.univ.example", False),
        ("jean@xuniv.example", False),
        ("jean@univ.example.evil.test", False),
        ("jean@mail.example", False),
    ],
)
def test_a_trusted_issuer_vouches_for_its_own_domain_only_i4(database: Database, email: str, confirmed: bool) -> None:
    account_id = sign_in(database, replace(SEL, email=email), trusted=("univ.example",))
    assert (facts(database, account_id).email_confirmed_at is not None) is confirmed


def test_when_the_trusted_issuer_names_another_address_the_former_is_no_longer_vouched_for(database: Database) -> None:
    trusted = ("univ.example",)
    account_id = sign_in(database, SEL, trusted)
    sign_in(database, replace(SEL, email="jean@mail.example"), trusted)
    known = facts(database, account_id)
    assert (known.email, known.email_confirmed_at) == ("jean@mail.example", None)
    with database.read() as session:
        reasons = session.scalars(select(AuditEvent.outcome).where(AuditEvent.event == "address.lost")).all()
    assert reasons == ["replaced by issuer"]


def test_the_same_name_at_another_issuer_is_somebody_else_lnk_06(database: Database) -> None:
    sign_in(database, SEL)
    with pytest.raises(UsernameTaken):
        sign_in(database, replace(SEL, issuer="partner"))
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Account)) == 1


def test_a_first_sign_in_in_two_tabs_makes_one_account(database: Database) -> None:
    start = Barrier(6)

    def tab(_number: int) -> int:
        start.wait(timeout=30)
        try:
            return sign_in(database, SEL)
        except (IntegrityError, UsernameTaken):
            return sign_in(database, SEL)  # as the page does: once more

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(tab, range(6)))) == 1


def test_refreshes_at_the_same_moment_with_a_new_address_do_not_collide(database: Database) -> None:
    sign_in(database, SEL)
    start = Barrier(6)

    def tab(_number: int) -> int:
        start.wait(timeout=30)
        return sign_in(database, replace(SEL, email="moved@univ.example"), ("univ.example",))

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(tab, range(6)))) == 1


# --- what people type at the Extérieurs door ---


@pytest.mark.parametrize(
    "typed",
    [
        "ext.ada",
        " Ext.Ada\t",
        "\u00a0EXT.ADA\u3000",
        "ada@mail.example",
        "ADA@Mail.Example ",
        "ada@\uff4dail\u3002example",
    ],
)
def test_user_name_or_address_in_any_case_names_the_account_d32(
    database: Database, add_person: AddPerson, typed: str
) -> None:
    account_id = add_person(database, "ext.ada", "ada@mail.example")
    with database.read() as session:
        found = find_local_credential(session, typed)
    assert found is not None
    assert found.account_id == account_id


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "ext.ad",
        "ext.ada\0",
        "ext.ada@mail",
        "ada@mail",
        "a\0da@mail.example",
        "%",
        "ext.%",
        "ext_ada",
        "\ud800",
        "'; drop table accounts --",
        "ada@mail.example\0",
        "ada+x@mail.example",
        "x" * 5000,
        "@" * 300,
    ],
)
def test_anything_else_names_nobody_and_breaks_nothing(database: Database, add_person: AddPerson, typed: str) -> None:
    add_person(database, "ext.ada", "ada@mail.example")
    with database.read() as session:
        assert find_local_credential(session, typed) is None


@given(st.text(max_size=60))
def test_the_canonical_form_of_an_identifier_is_stable(text: str) -> None:
    once = canonical_identifier(text)
    assert canonical_identifier(once) == once


def test_an_address_two_people_share_names_neither_of_them_d37(database: Database, add_person: AddPerson) -> None:
    add_person(database, "ext.ada", "office@mail.example")
    add_person(database, "ext.bob", "office@mail.example")
    with database.read() as session:
        assert find_local_credential(session, "office@mail.example") is None
        assert find_local_credential(session, "ext.bob") is not None


def test_writing_down_somebody_s_address_does_not_shut_them_out(database: Database, add_person: AddPerson) -> None:
    owner = add_person(database, "ext.ada", "ada@mail.example")
    with database.begin() as session:
        address = primary_address(session.get_one(Account, owner))
        assert address is not None
        confirm(session, address)
    add_person(database, "ext.squatter", "ada@mail.example")
    with database.read() as session:
        found = find_local_credential(session, "ada@mail.example")
    assert found is not None
    assert found.account_id == owner


def test_an_erased_account_is_nobody(database: Database, add_person: AddPerson) -> None:
    account_id = add_person(database)
    with database.begin() as session:
        session.get_one(Account, account_id).erased_at = NOW
    with database.read() as session:
        assert find_local_credential(session, "ext.ada") is None
        assert account_by_username(session, "ext.ada") is None


def test_a_user_name_is_never_used_again_prv_03(database: Database, add_person: AddPerson) -> None:
    account_id = add_person(database)
    with database.begin() as session:
        session.get_one(Account, account_id).erased_at = NOW
    with pytest.raises(UsernameTaken), database.begin() as session:
        create_local_account(
            session,
            username="ext.ada",
            profile="learner",
            person=Person("Another", "Ada"),
            email=parse_address("other@mail.example"),
            password_hash="x",
            now=NOW,
            origin=audit.SYSTEM,
        )


def test_changes_at_the_same_moment_are_each_counted_i6(database: Database, add_person: AddPerson) -> None:
    """A mirror compares versions: two changes counted as one would leave Moodle with half of them."""
    account_id = add_person(database)
    before = facts(database, account_id).version
    start = Barrier(8)

    def change(number: int) -> None:
        with database.begin() as session:
            account = session.get_one(Account, account_id)
            if not database.is_sqlite:  # there the second BEGIN waits for the first COMMIT already
                start.wait(timeout=30)
            account.given_name = f"Ada {number}"
            account.note_change()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(8)))
    assert facts(database, account_id).version == before + 8


def test_the_former_address_can_come_back_without_a_second_row(database: Database, add_person: AddPerson) -> None:
    account_id = add_person(database, "ext.ada", "ada@mail.example")
    for email in ("new@mail.example", "Ada@mail.example"):
        with database.begin() as session:
            account = session.get_one(Account, account_id)
            set_primary_address(session, account, parse_address(email), role="contact", now=NOW)
    with database.read() as session:
        account = session.get_one(Account, account_id)
        assert [(one.email, one.is_primary) for one in account.addresses] == [
            ("ada@mail.example", True),
            ("new@mail.example", False),
        ]
