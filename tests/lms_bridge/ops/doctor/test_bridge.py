"""The bridge's own set-up: settings, keys, database, background work, mail, the university's CAS, public address."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug import Request, Response

from external_accounts import outbox
from external_accounts.database import Database
from lms_bridge import migrations
from lms_bridge.app import create_app
from lms_bridge.demo.sel import SelDirectory, SimulatedSel
from lms_bridge.demo.server import LoopbackServer
from lms_bridge.i18n import use_locale
from lms_bridge.ops.doctor import database_checks, public_checks, settings_checks
from lms_bridge.ops.doctor.bridge_facts import SPOOFED, PublicFacts
from lms_bridge.ops.doctor.database_facts import DatabaseFacts, KeyUse, Waiting, read_database
from lms_bridge.ops.doctor.findings import Finding, Verdict
from lms_bridge.ops.doctor.probes import NoAnswer, Page, Silence
from lms_bridge.runtime import Runtime, build_runtime
from lms_bridge.settings import build
from tests.bridge_under_test import settings_values
from tests.lms_bridge.ops.doctor.conftest import KEY, Clinic
from tests.peers.broken_servers import answering, broken_server
from tests.peers.mail_server import running_mail_server
from tests.peers.tls import new_authority, tls_face
from tests.postgresql_server import PostgresqlServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PUBLIC = "https://connexion.univ.example"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def served(make: Callable[[str], WSGIApplication]) -> Iterator[str]:
    """Serve what `make` returns for the address it will have."""
    made: list[WSGIApplication] = []

    def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        return made[0](environ, start)

    server = LoopbackServer(application, 0)
    made.append(make(server.url))
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


# --- Settings ---


@pytest.mark.parametrize(
    ("mode", "verdict"), [(0o600, "ok"), (0o640, "ok"), (0o660, "warning"), (0o644, "problem"), (0o666, "problem")]
)
def test_a_settings_file_that_others_can_read_is_a_problem(clinic: Clinic, mode: int, verdict: str) -> None:
    clinic.file.chmod(mode)
    line = clinic.examine().line("permissions", "settings")
    assert line["verdict"] == verdict
    assert str(clinic.file) in line["where"]


@pytest.mark.parametrize(
    ("keys", "verdict"),
    [
        ([KEY], "ok"),
        (["fedcba9876543210" * 2, KEY], "ok"),
        (["0" * 64], "problem"),
        ([KEY, KEY], "warning"),
    ],
)
def test_secret_keys_are_counted_and_measured(clinic: Clinic, keys: list[str], verdict: str) -> None:
    clinic.settings["secret_keys"] = keys
    assert clinic.examine().verdict("secret_keys", "settings") == verdict


@pytest.mark.parametrize(
    ("use", "verdict"),
    [
        (KeyUse(current_since=NOW - timedelta(days=3)), Verdict.WARNING),
        (KeyUse(current_since=NOW - timedelta(hours=3)), Verdict.OK),
        (KeyUse(), Verdict.OK),
    ],
)
def test_older_keys_that_nothing_needs_any_more_can_go(use: KeyUse, verdict: Verdict, tmp_path: Path) -> None:
    settings = build(settings_values(tmp_path, secret_keys=["fedcba9876543210" * 2, KEY]))
    assert settings_checks.secret_keys(settings, use, NOW).verdict is verdict


def test_an_older_key_that_a_pending_proof_was_made_under_stays(clinic: Clinic) -> None:
    """The proof was made before the rotation, and its link must still work."""
    bridge = clinic.world.bridge
    bridge.add_account("ext.eve", confirmed=False)
    clinic.world.enter("ext.eve")
    clinic.world.browser.submit()  # send me the mail
    newer = "fedcba9876543210" * 2
    clinic.settings["secret_keys"] = [newer, KEY]
    url = str(clinic.settings["database_url"])
    facts = read_database(url, [], "newer", bridge.clock())
    assert facts.keys.needed == {bridge.runtime.keys.current_id}
    settings = build(clinic.settings)
    use = replace(facts.keys, current_since=bridge.clock() - timedelta(days=3))
    assert settings_checks.secret_keys(settings, use, bridge.clock()).verdict is Verdict.OK


def test_a_site_without_a_service_is_a_problem(clinic: Clinic) -> None:
    clinic.settings["services"] = clinic.settings["services"][1:]
    line = clinic.examine().line("site:updago", "services")
    assert (line["verdict"], line["where"]) == ("problem", "services.site")


def test_a_service_inside_a_moodle_that_it_does_not_name_is_a_problem(clinic: Clinic) -> None:
    del clinic.service["site"]
    assert clinic.examine().verdict("service:updago", "services") == "problem"


def test_a_service_that_names_a_moodle_it_is_not_inside_is_a_problem(clinic: Clinic) -> None:
    clinic.settings["services"][1]["site"] = "updago"
    report = clinic.examine()
    assert report.verdict("service:app", "services") == "problem"
    assert report.verdict("service:updago", "services") == "ok"


# --- Database ---


def test_a_database_file_that_is_missing_is_not_created_by_looking(clinic: Clinic, tmp_path: Path) -> None:
    clinic.settings["database_url"] = f"sqlite:///{tmp_path}/absent.db"
    line = clinic.examine().line("reachable", "database")
    assert (line["verdict"], line["seen"]) == ("problem", "there is no such file")
    assert not (tmp_path / "absent.db").exists()


def test_a_database_without_tables_is_told_the_command(clinic: Clinic, tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    clinic.settings["database_url"] = f"sqlite:///{tmp_path}/empty.db"
    line = clinic.examine().line("migrations", "database")
    assert (line["verdict"], line["where"]) == ("problem", "lms-bridge db upgrade")


def test_tables_of_another_version_are_a_problem(clinic: Clinic) -> None:
    with clinic.world.bridge.runtime.database.begin() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    line = clinic.examine().line("migrations", "database")
    assert line["verdict"] == "problem"
    assert line["seen"].startswith("version 0000, this program has ")


def test_a_file_that_is_no_database_is_a_problem(clinic: Clinic, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database at all, and long enough to be read as one" * 50)
    clinic.settings["database_url"] = f"sqlite:///{tmp_path}/text.db"
    assert clinic.examine().line("reachable", "database")["seen"] == "DatabaseError"


def test_a_database_server_that_does_not_answer_is_a_problem(clinic: Clinic) -> None:
    clinic.settings["database_url"] = "postgresql+psycopg://bridge:secret-word@127.0.0.1:9/bridge"
    report = clinic.examine()
    assert report.verdict("reachable", "database") == "problem"
    assert "secret-word" not in report.output


def test_a_database_that_takes_no_writes_is_a_problem(clinic: Clinic) -> None:
    with clinic.world.bridge.runtime.database.begin() as session:
        session.connection().exec_driver_sql(
            "CREATE TRIGGER readonly BEFORE INSERT ON throttle_buckets BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    assert clinic.examine().verdict("writable", "database") == "problem"


def test_sqlite_without_its_modes_is_a_problem() -> None:
    facts = DatabaseFacts(journal_mode="delete")
    assert database_checks.sqlite(facts).verdict is Verdict.PROBLEM
    assert database_checks.sqlite(replace(facts, journal_mode="wal", foreign_keys=False)).verdict is Verdict.PROBLEM


def test_postgresql_is_read_as_well(postgresql: PostgresqlServer) -> None:
    url = postgresql.create_database()
    try:
        database = Database(url)
        migrations.upgrade(database)
        database.close()
        facts = read_database(url, ["updago"], "key", NOW)
        with use_locale("en"):
            lines = {line.check: line for line in database_checks.check(facts, NOW)}
    finally:
        postgresql.drop_database(url)
    assert {line.verdict for line in lines.values()} == {Verdict.OK}
    assert lines["reachable"].seen == "PostgreSQL"
    assert "clock" in lines


# --- Background work ---


def test_a_mail_that_nobody_tries_means_that_no_worker_runs(clinic: Clinic) -> None:
    bridge = clinic.world.bridge
    bridge.add_account("ext.eve", confirmed=False)
    clinic.world.enter("ext.eve")
    clinic.world.browser.submit()  # send me the mail
    assert clinic.examine().verdict("running", "jobs") == "ok"
    with bridge.runtime.database.begin() as session:
        session.connection().exec_driver_sql("UPDATE outbox_mails SET due_at = '2026-01-01 00:00:00.000000'")
    line = clinic.examine().line("running", "jobs")
    assert line["verdict"] == "problem"
    assert line["seen"].startswith("mails never tried: 1")


def test_mails_that_are_tried_in_vain_are_another_matter(clinic: Clinic) -> None:
    bridge = clinic.world.bridge
    bridge.add_account("ext.eve", confirmed=False)
    clinic.world.enter("ext.eve")
    clinic.world.browser.submit()  # send me the mail
    with bridge.runtime.database.begin() as session:
        session.connection().exec_driver_sql(
            "UPDATE outbox_mails SET due_at = '2026-01-01 00:00:00.000000', attempts = 3"
        )
    report = clinic.examine()
    assert report.verdict("running", "jobs") == "ok"
    assert report.verdict("outbox", "jobs") == "warning"


@pytest.mark.parametrize("queue", ["logouts", "sessions"])
def test_sign_outs_and_sessions_left_lying_mean_the_same(queue: str) -> None:
    lying = {queue: Waiting(2, NOW - timedelta(hours=1))}
    assert database_checks.background_work(DatabaseFacts(**lying), NOW).verdict is Verdict.PROBLEM
    fresh = {queue: Waiting(2, NOW - timedelta(seconds=20))}
    assert database_checks.background_work(DatabaseFacts(**fresh), NOW).verdict is Verdict.OK


def test_a_session_past_its_end_is_seen_in_the_database(clinic: Clinic) -> None:
    clinic.world.ticket()
    with clinic.world.bridge.runtime.database.begin() as session:
        session.connection().exec_driver_sql("UPDATE sso_sessions SET expires_at = '2026-01-01 00:00:00.000000'")
    assert "sessions to end: 1" in clinic.examine().line("running", "jobs")["seen"]


# --- Mail ---


def mail_line(clinic: Clinic, **mail: object) -> dict[str, str]:
    clinic.settings["mail"] = {"host": "127.0.0.1", "sender": "noreply@univ.example", "timeout": 5} | mail
    return clinic.examine().line("server", "mail")


def test_a_mail_server_that_is_not_there_is_a_problem(clinic: Clinic) -> None:
    assert mail_line(clinic, port=9, security="none")["seen"] == "127.0.0.1:9 does not answer"


def test_a_mail_server_is_spoken_to_as_the_settings_say_and_nothing_is_sent(clinic: Clinic, tmp_path: Path) -> None:
    authority = new_authority(tmp_path / "ca")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.certificate, authority.key)
    with running_mail_server(free_port(), tls=context, login=("bridge", "the-right-word")) as server:
        good = {"port": server.port, "security": "starttls", "username": "bridge", "password": "the-right-word"}
        assert mail_line(clinic, **good, ca_file=str(authority.ca_file))["verdict"] == "ok"
        assert mail_line(clinic, **good)["seen"].endswith("TLS fails")
        wrong = mail_line(clinic, **good | {"password": "the-wrong-word"}, ca_file=str(authority.ca_file))
        assert "refuses the user name or password" in wrong["seen"]
        assert (server.tried, server.accepted) == ([], [])


def test_a_mail_server_without_starttls_is_named(clinic: Clinic) -> None:
    with running_mail_server(free_port()) as server:
        assert "does not offer STARTTLS" in mail_line(clinic, port=server.port, security="starttls")["seen"]


def test_a_server_that_is_no_mail_server_is_a_problem(clinic: Clinic) -> None:
    port = int(str(clinic.settings["public_url"]).rpartition(":")[2])
    assert mail_line(clinic, port=port, security="none", timeout=1)["verdict"] == "problem"


def test_a_sender_that_is_refused_is_named(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_anything: object) -> str:
        return "550 5.7.1 not from here"

    with running_mail_server(free_port()) as server:
        monkeypatch.setattr(type(server), "handle_MAIL", refuse, raising=False)
        line = mail_line(clinic, port=server.port, security="none")
    assert line["seen"].endswith("refuses the sender noreply@univ.example (550)")


def test_d19_a_bridge_that_nobody_tells_of_bounces_is_worth_a_warning(clinic: Clinic) -> None:
    assert clinic.examine().line("bounces", "mail")["seen"] == "the way back is open"
    del clinic.settings["mail"]["bounce_folder"]
    assert clinic.examine().verdict("bounces", "mail") == "warning"


def test_a_report_that_nobody_takes_from_the_folder_is_a_problem(clinic: Clinic) -> None:
    report = Path(clinic.settings["mail"]["bounce_folder"]) / "1.mail"
    report.write_bytes(b"x")
    assert clinic.examine().verdict("bounces", "mail") == "ok"
    hour_ago = datetime.now(UTC).timestamp() - 3600
    os.utime(report, (hour_ago, hour_ago))
    assert clinic.examine().line("bounces", "mail")["seen"] == "a file has been waiting for 60 minutes"


def test_a_mailbox_of_bounces_that_cannot_be_entered_is_a_problem(clinic: Clinic) -> None:
    clinic.settings["mail"]["bounce_imap"] = {"host": "127.0.0.1", "port": 9, "username": "u", "password": "hush"}
    line = clinic.examine().line("bounces", "mail")
    assert (line["verdict"], line["seen"]) == ("problem", "127.0.0.1:9: ConnectionRefusedError")


def test_d20_a_domain_that_refuses_our_mails_is_named(clinic: Clinic) -> None:
    assert clinic.examine().line("refusals", "mail")["seen"] == "in 7 days 0 of 0 refused or sent back"
    with clinic.world.bridge.runtime.database.begin() as session:
        for number in range(4):
            to, now = f"{number}@refuses.example", datetime.now(UTC)
            mail = outbox.enqueue(session, "test", to, locale="fr", now=now, mail_domain="b.example")
            outbox.refused(mail, "550 5.7.1 blocked", permanent=True, now=now)
    line = clinic.examine().line("refusals", "mail")
    assert line["verdict"] == "warning"
    assert line["seen"] == "in 7 days 4 of 4 refused or sent back; look at refuses.example"


def test_mail_in_the_clear_to_another_machine_is_worth_a_warning(clinic: Clinic) -> None:
    clinic.settings["mail"] |= {"host": "smtp.invalid"}
    assert clinic.examine().verdict("encryption", "mail") == "warning"


def test_mail_in_the_clear_to_this_machine_is_said_to_be_that(clinic: Clinic) -> None:
    line = clinic.examine().line("encryption", "mail")
    assert (line["verdict"], line["seen"]) == ("ok", "in the clear, but no further than 127.0.0.1, this very machine")


# --- The university's CAS ---


def upstream_line(clinic: Clinic, cas_url: str) -> dict[str, str]:
    clinic.settings["upstreams"] = [{"issuer": "sel", "cas_url": cas_url, "read_timeout": 1}]
    return clinic.examine().line("validation", "upstream:sel")


def failing_with(code: str) -> bytes:
    return (
        f'<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas"><cas:authenticationFailure code="{code}">'
        "no</cas:authenticationFailure></cas:serviceResponse>"
    ).encode()


def test_a_cas_that_refuses_a_made_up_ticket_is_well(clinic: Clinic) -> None:
    with served(lambda url: SimulatedSel(SelDirectory(), url).wsgi_app) as url:
        line = upstream_line(clinic, f"{url}/cas")
    assert (line["verdict"], line["seen"]) == ("ok", "a made-up ticket is refused: INVALID_TICKET")


def test_a_cas_that_is_down_is_a_problem(clinic: Clinic) -> None:
    assert upstream_line(clinic, "http://127.0.0.1:1/cas")["seen"] == "no connection"


def test_a_cas_that_does_not_know_us_is_told_from_one_that_does_not_know_the_ticket(clinic: Clinic) -> None:
    with broken_server(answering(failing_with("INVALID_SERVICE"))) as url:
        line = upstream_line(clinic, url)
    assert (line["verdict"], line["seen"]) == ("problem", "it answers INVALID_SERVICE")
    assert "/signin/sel/callback?state=…" in line["fix"]


def test_something_that_is_no_cas_is_a_problem(clinic: Clinic) -> None:
    with broken_server(answering(b"<html>welcome</html>")) as url:
        assert upstream_line(clinic, url)["seen"] == "it answers, and not as a CAS does"


def test_a_cas_that_accepts_anything_is_a_problem(clinic: Clinic) -> None:
    success = (
        b'<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas"><cas:authenticationSuccess>'
        b"<cas:user>x</cas:user></cas:authenticationSuccess></cas:serviceResponse>"
    )
    with broken_server(answering(success)) as url:
        assert upstream_line(clinic, url)["seen"] == "it accepted a made-up ticket"


# --- The public address ---


class Proxy:
    """A reverse proxy in front of the bridge, configured well or badly by a test."""

    def __init__(self, backend: Callable[..., Iterable[bytes]], change: Callable[[dict[str, Any]], None]) -> None:
        self._backend, self._change = backend, change

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self._change(environ)
        return self._backend(environ, start_response)


def behind(clinic: Clinic, change: Callable[[dict[str, Any]], None], trusted: int) -> dict[str, str]:
    """The line about proxies when the bridge that answers trusts `trusted` of them and `change` stands in front."""
    clinic.settings["throttle"] = {"trusted_proxies": trusted}
    runtimes: list[Runtime] = []

    def bridge(url: str) -> WSGIApplication:
        clinic.settings["public_url"] = url
        runtimes.append(build_runtime(build(clinic.settings)))
        return Proxy(create_app(runtimes[0]).wsgi_app, change)

    with served(bridge):
        line = clinic.examine().line("proxies", "public_url")
    runtimes[0].close()
    return line


def overwrites(environ: dict[str, Any]) -> None:
    environ["HTTP_X_FORWARDED_FOR"] = "10.0.0.9"


def appends(environ: dict[str, Any]) -> None:
    environ["HTTP_X_FORWARDED_FOR"] = ", ".join([*filter(None, [environ.get("HTTP_X_FORWARDED_FOR")]), "10.0.0.9"])


def passes_on(_environ: dict[str, Any]) -> None:
    pass


@pytest.mark.parametrize("proxy", [overwrites, appends])
def test_a_proxy_that_writes_the_address_and_is_counted_is_well(clinic: Clinic, proxy: Any) -> None:
    line = behind(clinic, proxy, trusted=1)
    assert line["verdict"] == "ok"
    assert "we are seen as 10.0.0.9" in line["seen"]


def test_a_proxy_that_is_not_counted_makes_everybody_come_from_it(clinic: Clinic) -> None:
    line = behind(clinic, overwrites, trusted=0)
    assert line["verdict"] == "problem"
    assert "trusted_proxies = 1" in line["fix"]


def test_more_proxies_counted_than_there_are_is_a_problem(clinic: Clinic) -> None:
    line = behind(clinic, overwrites, trusted=2)
    assert line["verdict"] == "problem"
    assert "trusted_proxies = 1" in line["fix"]


def test_callers_who_can_choose_their_address_are_noticed(clinic: Clinic) -> None:
    line = behind(clinic, passes_on, trusted=1)
    assert (line["verdict"], line["seen"]) == ("problem", "anybody can choose the address they come from")


def test_a_public_address_that_nobody_serves_is_a_problem(clinic: Clinic) -> None:
    clinic.settings["public_url"] = "http://127.0.0.1:1"
    line = clinic.examine().line("reachable", "public_url")
    assert (line["verdict"], line["seen"]) == ("problem", "http://127.0.0.1:1: no connection")


def test_a_public_address_whose_certificate_does_not_pass_is_not_taken_for_a_bridge_that_is_down() -> None:
    facts = PublicFacts(NoAnswer(Silence.CERTIFICATE, "self-signed certificate"), None, None, None, None)
    line = public_checks.reachable(build(settings_values(Path())), facts)
    assert line.verdict is Verdict.PROBLEM
    assert "services_ca_file" in line.fix


def test_a_public_address_that_leads_to_something_else_is_a_problem(clinic: Clinic) -> None:
    def elsewhere(environ: Any, start: Any) -> Iterable[bytes]:
        return Response(f"welcome to {Request(environ).path}")(environ, start)

    with served(lambda _url: elsewhere) as url:
        clinic.settings["public_url"] = url
        assert clinic.examine().line("reachable", "public_url")["seen"] == "HTTP 200, and not from a bridge"


def test_a_bridge_with_other_keys_is_not_taken_for_this_one(clinic: Clinic) -> None:
    clinic.settings["secret_keys"] = ["fedcba9876543210" * 4]
    assert "other secret keys" in clinic.examine().line("reachable", "public_url")["seen"]


def test_a_bridge_in_service_with_another_database_is_noticed(clinic: Clinic, tmp_path: Path) -> None:
    os.link(tmp_path / "bridge.db", tmp_path / "copy.db")
    clinic.settings["database_url"] = f"sqlite:///{tmp_path}/copy.db"
    assert clinic.examine().verdict("same_database", "public_url") == "problem"


def test_a_bridge_in_service_whose_clock_differs_is_noticed(clinic: Clinic) -> None:
    clinic.world.bridge.clock.forward(seconds=90)
    line = clinic.examine().line("clock", "public_url")
    assert line["verdict"] == "warning"
    assert "at random" in line["fix"]


def test_https_is_looked_at_through_tls(clinic: Clinic, tmp_path: Path) -> None:
    authority = new_authority(tmp_path / "ca")
    port = int(str(clinic.settings["public_url"]).rpartition(":")[2])
    with tls_face(authority) as face:
        face.start(port)
        clinic.settings |= {"public_url": face.url, "services_ca_file": str(authority.ca_file)}
        report = clinic.examine()
        assert "answers with this bridge's keys" in report.line("reachable", "public_url")["seen"]
        certificate = report.line("certificate", "public_url")
        assert (certificate["verdict"], "1 day left" in certificate["seen"]) == ("warning", True)
        # The bridge behind it was started for plain http, and says so.
        assert report.verdict("forwarded_proto", "public_url") == "warning"
        assert report.verdict("hsts", "public_url") == "warning"
        assert report.verdict("https_redirect", "public_url") == "unseen"
        del clinic.settings["services_ca_file"]
        line = clinic.examine().line("certificate", "public_url")
        assert line["verdict"] == "problem"
        assert "TLS fails" in line["seen"]


def public(plain: Page | NoAnswer | None = None, header: str = "max-age=31536000") -> dict[str, Finding]:
    """The lines about an https address, as values."""
    page = Page(200, {"Strict-Transport-Security": header}, b"", 0.1, NOW)
    told = {"address": "192.0.2.1", "scheme": "https", "forwarded": 1, "trusted_proxies": 1, "at": NOW.timestamp()}
    facts = PublicFacts(page, told | {"database": "d"}, told, plain, NOW + timedelta(days=60))
    settings = build(settings_values(Path("/nowhere"), public_url=PUBLIC))
    with use_locale("en"):
        return {line.check: line for line in public_checks.check(settings, facts, "d", NOW)}


def redirect(location: str, status: int = 301) -> Page:
    return Page(status, {"Location": location}, b"", 0.1, NOW)


@pytest.mark.parametrize(
    ("plain", "verdict"),
    [
        (redirect(f"{PUBLIC}/healthz"), Verdict.OK),
        (redirect("https://www.univ.example/"), Verdict.PROBLEM),
        (redirect("", 200), Verdict.PROBLEM),
        (NoAnswer(Silence.CONNECTION), Verdict.WARNING),
        (None, Verdict.UNSEEN),
    ],
)
def test_plain_http_must_lead_to_https(plain: Page | NoAnswer | None, verdict: Verdict) -> None:
    assert public(plain)["https_redirect"].verdict is verdict


@pytest.mark.parametrize(
    ("header", "verdict"),
    [("max-age=31536000", Verdict.OK), ("", Verdict.WARNING), ("max-age=60", Verdict.WARNING)],
)
def test_browsers_must_be_told_to_stay_with_https(header: str, verdict: Verdict) -> None:
    assert public(header=header)["hsts"].verdict is verdict


def test_the_address_that_is_tried_is_nobodys() -> None:
    assert SPOOFED.startswith("192.0.2.")
