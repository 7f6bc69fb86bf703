"""Files of the staff office, from the first line to what the database holds."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from external_accounts import audit, import_runs
from external_accounts.accounts import Person, create_account
from external_accounts.addresses import primary_address
from external_accounts.database import Database
from external_accounts.directory import DirectoryUnavailable, Entry
from external_accounts.directory.embedded import EmbeddedDirectory
from external_accounts.import_runs import Limits
from external_accounts.imports import Decision, Limit
from external_accounts.institution_schema import Handover, LifecycleNotice, NameKey
from external_accounts.keys import Keys
from external_accounts.passwords import PasswordHashing
from external_accounts.proofs import CONFIRM_ADDRESS, about, claim_by_link, request_proof
from external_accounts.schema import Account, AuditEvent, Proof, SignInIdentity
from tests.external_accounts.conftest import NOW
from tests.external_accounts.importing import account, accounts, end_of, imported, planned, rules, sheet
from tests.migrated import migrate

FULL = ("matricule", "nom", "prénom", "nom de naissance", "adresse privée", "composante", "fin", "référent")
ADA = ("1", "Lovelace", "Ada", "Byron", "ada@mail.example", "Sciences", "2027-06-30", "")


def fresh(folder: Path) -> Database:
    database = Database(f"sqlite:///{folder}/{secrets.token_hex(4)}.db")
    migrate(database)
    return database


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Database]:
    """An empty database, for what does not depend on its kind."""
    database = fresh(tmp_path)
    yield database
    database.close()


def confirm(database: Database, key: str) -> None:
    keys = Keys([secrets.token_hex(32)])
    with database.begin() as session:
        address = primary_address(account(session, key))
        assert address is not None
        proof, _ = request_proof(
            session, keys, about(address), purpose=CONFIRM_ADDRESS, lifetime=timedelta(hours=1), service=None,
            locale="fr", now=NOW,
        )  # fmt: skip
        claim_by_link(session, proof.id, now=NOW, origin=audit.SYSTEM)


def problems(decisions: tuple[Decision, ...]) -> dict[str, set[tuple[str | None, str]]]:
    return {one.external_key: {(each.column, each.reason) for each in one.problems} for one in decisions}


def test_a_new_line_makes_an_account_that_waits_for_its_activation(database: Database) -> None:
    outcome = imported(database, sheet([ADA], FULL))
    assert outcome.done == {"create": 1}
    assert accounts(database)["1"] == {
        "username": "ada.lovelace",
        "profile": "vacataire",
        "name": ("Ada", "Lovelace", "Byron"),
        "unit": "Sciences",
        "end": end_of("2027-06-30"),
        "sponsor": None,
        "addresses": [("ada@mail.example", "recovery", True)],
        "mail": True,
        "directory": "sel",
    }
    with database.read() as session:
        made = account(session, "1")
        assert made.activated_at is None
        assert session.scalars(select(SignInIdentity)).one().subject == "ada.lovelace"
        assert [event.event for event in session.scalars(select(AuditEvent).order_by(AuditEvent.id))] == [
            "account.created",
            "accounts.imported",
        ]


def test_i4_an_imported_address_is_never_confirmed_and_never_replaces_a_confirmed_one(database: Database) -> None:
    imported(database, sheet([ADA], FULL))
    with database.read() as session:
        assert all(one.confirmed_at is None for one in account(session, "1").addresses)
    confirm(database, "1")
    other = (*ADA[:4], "thief@mail.example", *ADA[5:])
    plan = planned(database, sheet([other], FULL))
    assert (plan.decisions[0].kind, plan.decisions[0].notes) == ("leave", ("address_confirmed",))


def test_the_same_file_again_changes_nothing(people: Database) -> None:
    imported(people, sheet([ADA], FULL))
    before = accounts(people)
    assert planned(people, sheet([ADA], FULL)).pending == 0
    imported(people, sheet([ADA], FULL))
    assert accounts(people) == before


def test_a_known_key_updates_the_fields_that_the_file_has_and_no_other(database: Database) -> None:
    imported(database, sheet([ADA], FULL))
    with database.read() as session:
        version = account(session, "1").version
    outcome = imported(database, sheet([("1", "King", "")], ("matricule", "nom", "composante")))
    assert outcome.done == {"update": 1}
    now = accounts(database)["1"]
    assert now["name"] == ("Ada", "King", "Byron")
    assert (now["unit"], now["username"], now["end"]) == ("Sciences", "ada.lovelace", end_of("2027-06-30"))
    with database.read() as session:
        assert account(session, "1").version > version


def test_a_corrected_private_address_gets_the_activation_mail_and_ends_what_was_under_way(people: Database) -> None:
    imported(people, sheet([ADA], FULL))
    keys = Keys([secrets.token_hex(32)])
    with people.begin() as session:
        person = account(session, "1")
        person.activation_mail_due_at = None
        address = primary_address(person)
        assert address is not None
        request_proof(
            session, keys, about(address), purpose="activate", lifetime=timedelta(hours=9), service=None, locale="fr",
            now=NOW,
        )  # fmt: skip
    imported(people, sheet([("1", "ada.l@mail.example")], ("matricule", "adresse privée")))
    held = accounts(people)["1"]
    assert (held["addresses"], held["mail"]) == ([("ada.l@mail.example", "recovery", True)], True)
    with people.read() as session:
        assert session.scalars(select(Proof)).one().cancelled_at is not None


def test_an_institutional_address_is_the_main_one_but_for_somebody_who_confirmed_another(people: Database) -> None:
    header = ("matricule", "nom", "prénom", "adresse privée", "courriel institutionnel")
    imported(people, sheet([("1", "Lovelace", "Ada", "ada@mail.example", "ada@univ.example")], header))
    assert accounts(people)["1"]["addresses"] == [
        ("ada@mail.example", "recovery", False),
        ("ada@univ.example", "institutional", True),
    ]
    imported(people, sheet([("2", "Hopper", "Grace", "grace@mail.example", "")], header))
    confirm(people, "2")
    imported(people, sheet([("2", "Hopper", "Grace", "", "grace@univ.example")], header))
    assert accounts(people)["2"]["addresses"] == [
        ("grace@mail.example", "recovery", True),
        ("grace@univ.example", "institutional", False),
    ]


def test_i10_an_end_that_has_come_ends_sessions_and_proofs_and_is_handed_over(database: Database) -> None:
    imported(database, sheet([ADA], FULL))
    ended: list[int] = []
    later = rules(NOW + timedelta(days=2))
    over = sheet([("1", "2026-11-22")], ("matricule", "fin"))
    assert imported(database, over, later, ended=ended).done == {"end": 1}
    with database.read() as session:
        person = account(session, "1")
        assert ended == [person.id]
        assert person.activation_mail_due_at is None
        assert session.scalars(select(Handover.event)).all() == ["account.ended"]
        notice = session.scalars(select(LifecycleNotice)).one()
        assert (notice.kind, notice.about) == ("closed", person.rights_end_at)
    # Over is over: the same line does it once.
    assert planned(database, over, rules(NOW + timedelta(days=3))).pending == 0


def test_a_later_end_opens_the_same_account_again(people: Database) -> None:
    imported(people, sheet([ADA], FULL))
    with people.begin() as session:
        person = account(session, "1")
        person.activation_mail_due_at = None
        session.add(LifecycleNotice(account_id=person.id, kind="closed", about=end_of("2027-06-30"), at=NOW))
    later = rules(NOW + timedelta(days=400))
    plan = planned(people, sheet([("1", "Sciences")], ("matricule", "composante")), later)
    assert (plan.decisions[0].kind, plan.decisions[0].notes) == ("leave", ("ended",))
    outcome = imported(people, sheet([("1", "2028-06-30")], ("matricule", "fin")), later)
    assert outcome.done == {"revive": 1}
    assert accounts(people)["1"]["username"] == "ada.lovelace"
    assert accounts(people)["1"]["mail"], "the activation that was never done can be done now"
    with people.read() as session:
        assert session.scalars(select(Handover.event)).all() == ["account.revived"]
        assert session.scalars(select(LifecycleNotice)).all() == [], "the new end is warned of anew"


def test_d55_a_file_without_ends_ends_nobody(people: Database) -> None:
    imported(people, sheet([ADA], FULL))
    imported(people, sheet([("1", "Lovelace", "Ada")]))
    assert accounts(people)["1"]["end"] == end_of("2027-06-30")
    imported(people, sheet([("1", "aucune")], ("matricule", "fin")))
    assert accounts(people)["1"]["end"] is None


def test_whoever_is_not_in_a_complete_file_is_ended_and_nobody_else(database: Database) -> None:
    people = [(str(number), f"Nom{number}", f"Prénom{number}") for number in range(6)]
    imported(database, sheet(people))
    imported(database, sheet([("s1", "Other", "Profile")]), rules(default_profile="staff"))
    left = sheet([*people[:3], ("3", "", "")])  # a line that is wrong is a person all the same
    plan = planned(database, left, complete=True)
    assert {one.external_key for one in plan.decisions if one.kind == "end"} == {"4", "5"}
    imported(database, left, complete=True)
    assert {key for key, one in accounts(database).items() if one["end"] is not None} == {"4", "5"}
    assert planned(database, left, rules(NOW + timedelta(hours=1)), complete=True).pending == 0


@pytest.mark.parametrize(
    ("lines", "name"),
    [([], "empty"), ([("0", "A", "B"), ("", "C", "D")], "incomplete"), ([("0", "A", "B")], "too_many_ends")],
)
def test_i9_a_run_that_would_end_too_many_stops_before_its_first_write(
    people: Database, lines: list[tuple[str, ...]], name: str
) -> None:
    imported(people, sheet([(str(number), f"Nom{number}", f"Prénom{number}") for number in range(10)]))
    limits = Limits(ended=Limit(50, 3), renamed=Limit(100, 100))
    plan = planned(people, sheet(lines), complete=True, limits=limits)
    assert name in [stop.name for stop in plan.stops]


def test_i9_ends_brought_forward_and_swapped_name_columns_are_counted(people: Database) -> None:
    header = ("matricule", "nom", "prénom", "fin")
    imported(people, sheet([(str(n), f"Nom{n}", f"Prénom{n}", "2028-06-30") for n in range(10)], header))
    limits = Limits(ended=Limit(10, 2), renamed=Limit(10, 2))
    soon = sheet([(str(n), f"Prénom{n}", f"Nom{n}", "2026-12-01") for n in range(10)], header)
    plan = planned(people, soon, limits=limits)
    assert [(stop.name, stop.count, stop.limit) for stop in plan.stops] == [
        ("too_many_ends", 10, 2),
        ("too_many_renames", 10, 2),
    ]
    assert all(stop.answerable for stop in plan.stops)


def test_a_homonym_waits_for_a_human_and_is_released_by_the_column_or_by_name(database: Database) -> None:
    imported(database, sheet([ADA], FULL))
    again = sheet([("2", "Ada", "Lovelace")])
    refused = planned(database, again).decisions[0]
    assert problems((refused,)) == {"2": {("homonym_checked", "homonym")}}
    assert [(one.username, one.likeness.facts) for one in refused.alike] == [("ada.lovelace", ("swapped_names",))]
    checked = sheet([("2", "Ada", "Lovelace", "oui")], ("matricule", "nom", "prénom", "homonyme_verifie"))
    assert planned(database, checked).decisions[0].kind == "create"
    assert imported(database, again, rules(accepted=frozenset({"2"}))).done == {"create": 1}


def test_two_lines_of_one_file_that_may_be_one_person_both_wait(people: Database) -> None:
    plan = planned(people, sheet([("1", "Martin", "Jean"), ("2", "MARTIN", "JEAN"), ("3", "Noether", "Emmy")]))
    assert [(one.external_key, one.kind) for one in plan.decisions] == [
        ("1", "refuse"),
        ("2", "refuse"),
        ("3", "create"),
    ]


def test_what_is_only_a_little_alike_is_said_and_stops_nothing(people: Database) -> None:
    imported(people, sheet([ADA], FULL))
    decision = planned(people, sheet([("2", "Lovelace", "A")])).decisions[0]
    assert (decision.kind, decision.notes) == ("create", ("homonym_near",))
    assert decision.alike[0].likeness.facts == ("initial",)


def test_a_changed_name_is_found_and_an_erased_one_is_not(people: Database) -> None:
    imported(people, sheet([ADA], FULL))
    imported(people, sheet([("1", "King", "Ada")]))
    assert planned(people, sheet([("2", "King", "Ada")])).decisions[0].kind == "refuse"
    with people.begin() as session:
        person = account(session, "1")
        person.given_name = person.family_name = person.birth_name = ""
        person.erased_at = NOW
        session.flush()
        assert session.scalars(select(NameKey)).all() == []
    assert planned(people, sheet([("2", "King", "Ada")])).decisions[0].kind == "create"


def test_user_names_are_given_in_the_order_of_the_keys_and_never_twice(database: Database) -> None:
    accepted = rules(accepted=frozenset("1234"))
    with database.begin() as session:
        gone = create_account(
            session, username="jean.martin", profile="staff", person=Person(), activated=True, now=NOW
        )
        gone.erased_at = NOW
    imported(database, sheet([("3", "Martin", "Jean"), ("2", "MARTIN", "Jean"), ("1", "Martin", "Jéan")]), accepted)
    assert {key: one["username"] for key, one in accounts(database).items()} == {
        "1": "jean.martin2",
        "2": "jean.martin3",
        "3": "jean.martin4",
    }


class Asked:
    """A directory that somebody filled who is not the bridge."""

    name = "sel"

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def find(self, username: str) -> Entry | None:
        if "unavailable" in self.names:
            raise DirectoryUnavailable
        return Entry(username) if username in self.names else None


def test_a_name_that_the_directory_has_is_somebody_elses(people: Database) -> None:
    directory = Asked("ada.lovelace", "ada.lovelace2")
    imported(people, sheet([ADA], FULL), directories={"sel": directory})  # type: ignore[dict-item]
    assert accounts(people)["1"]["username"] == "ada.lovelace3"


def test_a_directory_that_does_not_answer_stops_before_anything_is_made(people: Database) -> None:
    with pytest.raises(DirectoryUnavailable):
        imported(people, sheet([ADA], FULL), directories={"sel": Asked("unavailable")})  # type: ignore[dict-item]
    assert accounts(people) == {}


def test_where_no_directory_can_be_asked_the_file_must_name_the_user(people: Database) -> None:
    header = ("matricule", "nom", "prénom", "identifiant", "profil")
    lines = [
        ("1", "A", "Zoé", "", "guest"),
        ("2", "B", "Yann", "ybrun", "guest"),
        ("3", "C", "Xavier", "ext.xavier", "guest"),
        ("4", "D", "Wanda", "wanda", "learner"),
        ("5", "E", "Ulla", "", "learner"),
        ("6", "F", "Ext", "", "staff"),
        ("7", "Петров", "Иван", "", "staff"),
    ]
    plan = planned(people, sheet(lines, header))
    assert problems(plan.decisions) == {
        "1": {("username", "missing")},
        "2": set(),
        "3": {("username", "not_here")},
        "4": {("username", "not_here")},
        "5": set(),
        "6": {("username", "no_name_left")},
        "7": {("username", "no_name_left")},
    }
    imported(people, sheet(lines, header))
    assert {key: one["username"] for key, one in accounts(people).items()} == {"2": "ybrun", "5": "ext.ulla.e"}


def test_somebody_who_came_in_by_the_cas_before_is_taken_over_by_user_name(people: Database) -> None:
    with people.begin() as session:
        for name, person in (("alovelace", Person("Ada", "Lovelace")), ("ghopper", Person("Grace", "Hopper"))):
            here = create_account(session, username=name, profile="staff", person=person, activated=True, now=NOW)
            here.identities.append(
                SignInIdentity(issuer="sel", subject=name, attributes={}, created_at=NOW, refreshed_at=NOW)
            )
    header = ("matricule", "nom", "prénom", "identifiant", "profil")
    lines = [("1", "Lovelace", "Ada", "ALovelace", "staff"), ("2", "Noether", "Emmy", "ghopper", "staff")]
    plan = planned(people, sheet(lines, header))
    assert [(one.kind, one.notes) for one in plan.decisions] == [("update", ("taken_over",)), ("refuse", ())]
    imported(people, sheet(lines, header))
    assert accounts(people)["1"]["username"] == "alovelace"
    assert planned(people, sheet(lines[:1], header)).pending == 0


def test_a_key_is_free_again_after_the_erasure_and_the_name_is_not(people: Database) -> None:
    imported(people, sheet([ADA], FULL))
    with people.begin() as session:
        person = account(session, "1")
        person.given_name = person.family_name = person.birth_name = ""
        person.erased_at = NOW
        session.execute(update(Account).values(activation_mail_due_at=None))
    imported(people, sheet([("1", "Lovelace", "Ada")]))
    assert accounts(people)["1"]["username"] == "ada.lovelace2"


def test_what_cannot_be_is_refused_with_the_cell(database: Database) -> None:
    imported(database, sheet([ADA], FULL))
    header = ("matricule", "nom", "prénom", "profil", "fin", "référent", "identifiant")
    lines = [
        ("1", "", "", "learner", "", "", ""),
        ("2", "", "Bob", "nobody", "2020-01-01", "Nobody", ""),
        ("3", "Hopper", "Grace", "", "", "1", "ada.lovelace"),
        ("4", "Noether", "Emmy", "", "", "Ada.Lovelace", ""),
        ("5", "Germain", "Sophie", "", "", "1", "same"),
        ("6", "Curie", "Marie", "", "", "1", "same"),
    ]
    assert problems(planned(database, sheet(lines, header)).decisions) == {
        "1": {("profile", "cannot_change")},
        "2": {("family_name", "missing"), ("profile", "unknown"), ("rights_end", "past"), ("sponsor", "unknown")},
        "3": {("username", "taken")},
        "4": set(),
        "5": {("username", "twice")},
        "6": {("username", "twice")},
    }


def test_what_changed_between_plan_and_run_is_set_aside(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    file = sheet([("1", "Lovelace", "Ada"), ("2", "Hopper", "Grace")])
    chosen = rules()
    plan = planned(database, file, chosen)
    with database.begin() as session:
        other = create_account(
            session, username="x", profile="vacataire", person=Person("Ada", "Lovelace"), activated=True, now=NOW
        )
        other.external_key = "9"
    run = import_runs.Run(database, {}, chosen, audit.SYSTEM, lambda _session, _account: None)
    outcome = import_runs.apply(run, plan)
    assert outcome.done == {"create": 1}
    assert problems(tuple(outcome.set_aside)) == {"1": {("homonym_checked", "homonym")}}


def test_two_runs_at_once_make_everybody_once(database: Database) -> None:
    """One with the keys in the order of the names, one against it, and both with the same names to give."""
    one = [(f"a{number:03}", f"Nom{number}", "Ada") for number in range(450)]
    other = [(f"b{number:03}", f"Nom{449 - number}", "Ada") for number in range(450)]
    accepted = rules(accepted=frozenset(line[0] for line in one + other))
    failures: list[Exception] = []

    def run(lines: list[tuple[str, ...]]) -> None:
        try:
            imported(database, sheet(lines), accepted)
        except Exception as failure:  # noqa: BLE001 (told to the test)
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(lines,)) for lines in (one, other, one)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for lines in (one, other):  # what was set aside is made by the next run
        imported(database, sheet(lines), accepted)
    made = accounts(database)
    assert len(made) == 900
    assert len({account["username"] for account in made.values()}) == 900


KEYS = st.sampled_from(["1", "2", "3", "4", "5"])
LINES = st.lists(
    st.tuples(
        KEYS,
        st.sampled_from(["Martin", "Dupont", "Dupont-Martin", "de la Tour"]),
        st.sampled_from(["Jean", "Jéan", "J", "Anne", "Martin"]),
        st.sampled_from(["", "Dupont"]),
        st.sampled_from(["", "a@mail.example", "b@mail.example"]),
        st.sampled_from(["", "Droit"]),
        st.sampled_from(["", "aucune", "2026-12-01", "2030-06-30", "2020-01-01"]),
        st.sampled_from(["", "1", "jean.martin"]),
        st.sampled_from(["", "oui"]),
        st.sampled_from(["", "staff", "learner", "nobody"]),
    ),
    max_size=7,
)
WIDE = (*FULL, "homonyme_verifie", "profil")


@settings(max_examples=25)
@given(first=LINES, second=LINES, data=st.data())
def test_the_order_of_the_lines_makes_no_difference(
    tmp_path: Path,
    first: list[tuple[str, ...]],
    second: list[tuple[str, ...]],
    data: st.DataObject,
) -> None:
    """Any permutation of any two files gives the same accounts, user names included, and the same plan."""
    results = []
    for shuffled in (False, True):
        database = fresh(tmp_path)
        sums = []
        for number, lines in enumerate((first, second)):
            order = data.draw(st.permutations(lines)) if shuffled else lines
            chosen = rules(NOW + timedelta(days=number))
            sums.append(planned(database, sheet(order, WIDE), chosen, complete=bool(number)).checksum)
            imported(database, sheet(order, WIDE), chosen, complete=bool(number))
        results.append((sums, accounts(database)))
        database.close()
    # An absent one's end is the moment of its run; the plans' sums hold it, and both runs are at the same moment.
    assert results[0] == results[1]


def test_a_real_embedded_directory_is_asked(people: Database) -> None:
    hashing = PasswordHashing(threads=1)
    directory = EmbeddedDirectory("sel", people, hashing)
    directory.save(Entry("ada.lovelace", "Adam", "Lovelace"))
    imported(people, sheet([ADA], FULL), directories={"sel": directory})
    assert accounts(people)["1"]["username"] == "ada.lovelace2"
    hashing.close()


def test_an_address_in_its_other_spelling_is_no_change(people: Database) -> None:
    imported(people, sheet([ADA], FULL))
    assert planned(people, sheet([("1", "ADA@Mail.Example")], ("matricule", "adresse privée"))).pending == 0
