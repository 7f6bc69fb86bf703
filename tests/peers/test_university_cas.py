"""django-cas-server as the university's CAS: people come in through the bridge's `/signin/<issuer>` door."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from sqlalchemy import func, select

from external_accounts.schema import Account, SignInIdentity
from tests.bridge_under_test import APP, BridgeUnderTest, Browser, heading, running_bridge, ticket_in
from tests.peers.audit_trail import audit_details
from tests.peers.conftest import running_tls_bridge
from tests.peers.django_projects import UniversityCas, running_university_cas
from tests.peers.tls import Authority, tls_face

pytestmark = pytest.mark.xdist_group("university-cas")

CLAIRE = {
    "givenName": "Claire",
    "sn": "Martin",
    "mail": "claire.martin@univ.example",
    "eduPersonAffiliation": ["employee", "faculty"],
    "homeAddress": "not to be kept",
}


@pytest.fixture(scope="module")
def running_cas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UniversityCas]:
    with running_university_cas(tmp_path_factory.mktemp("university")) as cas:
        yield cas


@pytest.fixture
def cas(running_cas: UniversityCas) -> UniversityCas:
    """The university's CAS, with Claire in it as she was at first."""
    running_cas.put_person("cmartin", "pw", **CLAIRE)
    return running_cas


def upstream(cas: UniversityCas, **more: Any) -> dict[str, Any]:
    return {
        "issuer": "sel",
        "cas_url": cas.url,
        "keep": ["eduPersonAffiliation"],
        "trusted_domains": ["univ.example"],
        **more,
    }


@contextmanager
def bridge_below(folder: Path, cas: UniversityCas, **more: Any) -> Iterator[BridgeUnderTest]:
    with running_bridge(folder, upstreams=[upstream(cas, **more)]) as bridge:
        yield bridge


def at_the_cas(bridge: BridgeUnderTest, browser: Browser, service: str = APP) -> None:
    """Through the door, to the CAS's form."""
    page = browser.get("/signin/sel", params={"service": service})
    assert 'type="password"' in page.text, page.text[:500]


def sign_in(bridge: BridgeUnderTest, browser: Browser, username: str = "cmartin") -> requests.Response:
    """Through the door, the CAS's form and back; returns the bridge's last answer."""
    at_the_cas(bridge, browser)
    return browser.submit(username=username, password="pw")


def callback_in(location: str) -> str:
    """The return address that the bridge gave to the CAS."""
    return parse_qs(urlsplit(location).query)["service"][0]


def test_the_first_sign_in_makes_the_account_with_the_mapped_attributes(tmp_path: Path, cas: UniversityCas) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        answer = bridge.validate(ticket_in(sign_in(bridge, bridge.browser())))
        assert "<cas:user>cmartin</cas:user>" in answer.text
        assert "<cas:displayName>Claire Martin</cas:displayName>" in answer.text
        assert "<cas:mail>claire.martin@univ.example</cas:mail>" in answer.text
        assert "<cas:profile>staff</cas:profile>" in answer.text


def test_only_attributes_of_the_allow_list_are_kept(tmp_path: Path, cas: UniversityCas) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        sign_in(bridge, bridge.browser())
        with bridge.runtime.database.read() as session:
            [identity] = session.scalars(select(SignInIdentity)).all()
        assert (identity.issuer, identity.subject) == ("sel", "cmartin")
        assert identity.attributes == {"eduPersonAffiliation": ["employee", "faculty"]}


def test_a_profile_rule_reads_attributes_with_several_values(tmp_path: Path, cas: UniversityCas) -> None:
    rule = {"attribute": "eduPersonAffiliation", "value": "faculty", "profile": "vacataire"}
    with bridge_below(tmp_path, cas, profile_rules=[rule]) as bridge:
        answer = bridge.validate(ticket_in(sign_in(bridge, bridge.browser())))
        assert "<cas:profile>vacataire</cas:profile>" in answer.text


@pytest.mark.parametrize("version", ["2", "3"])
def test_the_door_speaks_both_versions_of_the_protocol(tmp_path: Path, cas: UniversityCas, version: str) -> None:
    with bridge_below(tmp_path, cas, version=version) as bridge:
        sign_in(bridge, bridge.browser())
        with bridge.runtime.database.read() as session:
            assert session.scalars(select(Account.username)).all() == ["cmartin"]


def test_a_later_sign_in_refreshes_the_same_account(tmp_path: Path, cas: UniversityCas) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        sign_in(bridge, bridge.browser())
        cas.put_person("cmartin", "pw", **{**CLAIRE, "sn": "Martin-Petit", "mail": "claire.petit@univ.example"})
        answer = bridge.validate(ticket_in(sign_in(bridge, bridge.browser())))
        assert "<cas:displayName>Claire Martin-Petit</cas:displayName>" in answer.text
        assert "<cas:mail>claire.petit@univ.example</cas:mail>" in answer.text
        with bridge.runtime.database.read() as session:
            assert session.scalar(select(func.count()).select_from(Account)) == 1


def test_d32_a_name_typed_in_capitals_is_the_same_person(tmp_path: Path, cas: UniversityCas) -> None:
    cas.put_person("CMartin", "pw", **CLAIRE)
    with bridge_below(tmp_path, cas) as bridge:
        sign_in(bridge, bridge.browser())
        answer = bridge.validate(ticket_in(sign_in(bridge, bridge.browser(), "CMartin")))
        assert "<cas:user>cmartin</cas:user>" in answer.text


def test_lnk_05_an_address_of_another_domain_is_not_confirmed_by_the_cas(tmp_path: Path, cas: UniversityCas) -> None:
    cas.put_person("cmartin", "pw", **{**CLAIRE, "mail": "claire@elsewhere.example"})
    with bridge_below(tmp_path, cas) as bridge:
        page = sign_in(bridge, bridge.browser())
        assert page.status_code == 403
        assert heading(page) == "E-mail non confirmé"


def test_lnk_06_a_name_reserved_for_local_accounts_is_refused(tmp_path: Path, cas: UniversityCas) -> None:
    cas.put_person("ext.ada", "pw", **CLAIRE)
    with bridge_below(tmp_path, cas) as bridge:
        bridge.add_account("ext.ada")
        page = sign_in(bridge, bridge.browser(), "ext.ada")
        assert page.status_code == 403
        assert "ext.ada@mail.example" not in page.text
        assert "SubjectRefused" in audit_details(bridge, "signin.cas", "refused")[0]["upstream_code"]


@pytest.mark.parametrize("name", ["rené", "K\u212aelvin", "a b", "<b>x</b>", "x" * 101])
def test_i12_a_name_that_moodle_could_read_otherwise_is_refused(tmp_path: Path, cas: UniversityCas, name: str) -> None:
    cas.put_person(name, "pw", **CLAIRE)
    with bridge_below(tmp_path, cas) as bridge:
        assert sign_in(bridge, bridge.browser(), name).status_code == 403
        with bridge.runtime.database.read() as session:
            assert session.scalar(select(func.count()).select_from(Account)) == 0


def test_the_portal_tile_needs_no_form_for_somebody_signed_in_at_the_cas(tmp_path: Path, cas: UniversityCas) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        browser = bridge.browser()
        browser.get(cas.url + "/login")
        browser.submit(username="cmartin", password="pw")
        ticket = ticket_in(browser.get("/signin/sel", params={"service": APP}))
        assert "<cas:user>cmartin</cas:user>" in bridge.validate(ticket).text


def test_cas_03_renew_is_carried_to_the_cas(tmp_path: Path, cas: UniversityCas) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        browser = bridge.browser()
        sign_in(bridge, browser)
        page = browser.get("/signin/sel", params={"service": APP, "renew": "true"})
        assert 'type="password"' in page.text
        ticket = ticket_in(browser.submit(username="cmartin", password="pw"))
        assert "<cas:user>cmartin</cas:user>" in bridge.validate(ticket, renew="true").text


def test_single_logout_at_the_cas_ends_the_bridges_session(tmp_path: Path, cas: UniversityCas) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        browser = bridge.browser()
        sign_in(bridge, browser)
        assert browser.get("/cas/login", params={"service": APP}, follow=False).is_redirect
        browser.get(cas.url + "/logout")
        page = browser.get("/cas/login", params={"service": APP}, follow=False)
        assert page.status_code == 200
        assert "Extérieurs" in page.text


def test_single_logout_at_the_cas_leaves_other_people_signed_in(tmp_path: Path, cas: UniversityCas) -> None:
    cas.put_person("jdupont", "pw", **CLAIRE)
    with bridge_below(tmp_path, cas) as bridge:
        leaving, staying = bridge.browser(), bridge.browser()
        sign_in(bridge, leaving)
        sign_in(bridge, staying, "jdupont")
        leaving.get(cas.url + "/logout")
        assert ticket_in(staying.get("/cas/login", params={"service": APP}, follow=False))


def test_a_ticket_not_yet_used_dies_with_single_logout_at_the_cas(tmp_path: Path, cas: UniversityCas) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        browser = bridge.browser()
        ticket = ticket_in(sign_in(bridge, browser))
        browser.get(cas.url + "/logout")
        assert "INVALID_TICKET" in bridge.validate(ticket).text


def test_cas_09_signing_out_here_ends_the_session_at_the_cas_too(tmp_path: Path, cas: UniversityCas) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        browser = bridge.browser()
        sign_in(bridge, browser)
        browser.get("/cas/logout")
        at_the_cas(bridge, browser)


def test_a_ticket_made_up_keeps_the_cas_s_code_in_the_audit_trail(tmp_path: Path, cas: UniversityCas) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        browser = bridge.browser()
        location = browser.get("/signin/sel", params={"service": APP}, follow=False).headers["Location"]
        page = browser.get(callback_in(location) + "&ticket=ST-made-up")
        assert page.status_code == 403
        assert "Extérieurs" in page.text
        [details] = audit_details(bridge, "signin.cas", "refused")
        assert "INVALID_TICKET" in details["upstream_code"]
        assert details["issuer"] == "sel"


def test_a_return_replayed_is_refused_with_the_cas_s_code(tmp_path: Path, cas: UniversityCas) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        browser = bridge.browser()
        at_the_cas(bridge, browser)
        back = browser.submit(username="cmartin", password="pw", follow=False).headers["Location"]
        assert ticket_in(browser.get(back))
        assert browser.get(back).status_code == 403
        [details] = audit_details(bridge, "signin.cas", "refused")
        assert "INVALID_TICKET" in details["upstream_code"]


def test_ses_04_a_return_slipped_to_another_browser_signs_nobody_in(tmp_path: Path, cas: UniversityCas) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        attacker, victim = bridge.browser(), bridge.browser()
        at_the_cas(bridge, attacker)
        back = attacker.submit(username="cmartin", password="pw", follow=False).headers["Location"]
        assert victim.get(back).status_code == 400
        assert victim.get("/cas/login", params={"service": APP}, follow=False).status_code == 200


def test_ses_04_a_ticket_slipped_into_another_browsers_return_signs_nobody_in(
    tmp_path: Path, cas: UniversityCas
) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        attacker, victim = bridge.browser(), bridge.browser()
        at_the_cas(bridge, attacker)
        back = attacker.submit(username="cmartin", password="pw", follow=False).headers["Location"]
        stolen = parse_qs(urlsplit(back).query)["ticket"][0]
        location = victim.get("/signin/sel", params={"service": APP}, follow=False).headers["Location"]
        assert victim.get(f"{callback_in(location)}&ticket={stolen}").status_code == 403
        assert victim.get("/cas/login", params={"service": APP}, follow=False).status_code == 200


def test_a_return_that_comes_back_much_later_starts_again_and_loses_nothing(tmp_path: Path, cas: UniversityCas) -> None:
    with bridge_below(tmp_path, cas) as bridge:
        browser = bridge.browser()
        at_the_cas(bridge, browser)
        back = browser.submit(username="cmartin", password="pw", follow=False).headers["Location"]
        bridge.clock.forward(minutes=31)
        assert browser.get(back).status_code == 400
        assert ticket_in(browser.get("/signin/sel", params={"service": APP}))


def test_two_universities_have_a_door_each_and_keep_their_people_apart(tmp_path: Path, cas: UniversityCas) -> None:
    with running_university_cas(tmp_path / "other") as other:
        other.put_person("cmartin", "pw2", **CLAIRE)
        other.put_person("nmoreau", "pw2", **{**CLAIRE, "givenName": "Noé", "sn": "Moreau"})
        second = upstream(other, issuer="lab", title={"fr": "Laboratoire", "en": "Laboratory"}, trusted_domains=[])
        with running_bridge(tmp_path, upstreams=[upstream(cas), second]) as bridge:
            doors = bridge.browser().get("/cas/login", params={"service": APP})
            assert "/signin/sel?" in doors.text
            assert "/signin/lab?" in doors.text
            assert ticket_in(sign_in(bridge, bridge.browser()))
            guest, twin = bridge.browser(), bridge.browser()
            guest.get("/signin/lab", params={"service": APP})
            assert heading(guest.submit(username="nmoreau", password="pw2")) == "E-mail non confirmé"
            twin.get("/signin/lab", params={"service": APP})
            page = twin.submit(username="cmartin", password="pw2")
            assert page.status_code == 403  # I5: the same name at another issuer is another person
            assert "claire.martin@univ.example" not in page.text
            assert "UsernameTaken" in audit_details(bridge, "signin.cas", "refused")[0]["upstream_code"]


def test_a_return_of_one_university_is_not_accepted_at_the_door_of_another(tmp_path: Path, cas: UniversityCas) -> None:
    both = [upstream(cas), upstream(cas, issuer="lab")]
    with running_bridge(tmp_path, upstreams=both) as bridge:
        browser = bridge.browser()
        at_the_cas(bridge, browser)
        back = browser.submit(username="cmartin", password="pw", follow=False).headers["Location"]
        assert browser.get(back.replace("/signin/sel/", "/signin/lab/")).status_code == 400


def test_a_cas_with_a_certificate_of_its_own_authority_is_trusted_by_ca_file(
    tmp_path: Path, cas: UniversityCas, authority: Authority
) -> None:
    with tls_face(authority) as face:
        face.start(urlsplit(cas.url).port or 0)
        settings = upstream(cas, cas_url=face.url + "/cas", ca_file=str(authority.ca_file))
        with running_tls_bridge(tmp_path, authority, upstreams=[settings]) as bridge:
            browser = bridge.browser()
            browser.get("/signin/sel", params={"service": APP})
            answer = browser.submit(username="cmartin", password="pw")
            assert "<cas:user>cmartin</cas:user>" in bridge.inner.validate(ticket_in(answer)).text


def test_a_cas_whose_certificate_nobody_vouches_for_is_not_believed(
    tmp_path: Path, cas: UniversityCas, authority: Authority
) -> None:
    with tls_face(authority) as face:
        face.start(urlsplit(cas.url).port or 0)
        settings = upstream(cas, cas_url=face.url + "/cas")
        with running_bridge(tmp_path, upstreams=[settings]) as bridge:
            assert bridge.browser().get("/signin/sel", params={"service": APP}, follow=False).status_code == 503
