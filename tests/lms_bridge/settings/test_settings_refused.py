"""A wrong or missing setting is refused at start: by its name, with what to write, and without showing a secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lms_bridge.settings import SettingsError, build, load
from tests.bridge_under_test import settings_values

CONFIGURATION = 5
"""The exit code of every command that cannot use its settings."""

CAS = {"issuer": "sel", "cas_url": "https://cas.univ.example/cas"}
MOODLE = {"name": "updago", "url": "https://updago.univ.example", "token": "0123456789abcdef0123456789abcdef"}
STAFF = {"name": "staff", "label": {"fr": "Personnel"}}

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """Settings that can be used."""
    return settings_values(
        tmp_path, public_url="https://connexion.univ.example", upstreams=[CAS], sites=[MOODLE], profiles=[STAFF]
    )


def _member(**entry: object) -> Change:
    return put("help_desk", {"members": [{"role": "agent"} | entry]})


def put(path: str, value: object) -> Change:
    """Set the value at a dotted path; numbers are places in a list."""
    *way, last = path.split(".")

    def change(values: dict[str, Any]) -> None:
        here: Any = values
        for step in way:
            here = here.setdefault(step, {}) if isinstance(here, dict) else here[int(step)]
        if isinstance(here, dict):
            here[last] = value
        else:
            here[int(last)] = value

    return change


def drop(path: str) -> Change:
    *way, last = path.split(".")

    def change(values: dict[str, Any]) -> None:
        here: Any = values
        for step in way:
            here = here[step] if isinstance(here, dict) else here[int(step)]
        del here[last]

    return change


WRONG: list[tuple[str, Change, str, str]] = [
    ("no public address", drop("public_url"), "public_url", "LMS_BRIDGE_PUBLIC_URL"),
    ("no keys", drop("secret_keys"), "secret_keys", "missing"),
    ("no institution", drop("institution"), "institution", "missing"),
    ("no help address", drop("institution.help_email"), "institution.help_email", "LMS_BRIDGE_INSTITUTION__HELP_EMAIL"),
    ("no mail server", drop("mail.host"), "mail.host", "SMTP server"),
    ("no folder for bounces", put("mail.bounce_folder", "/nowhere"), "mail.bounce_folder", "there is no folder"),
    ("no room for a tag", put("mail.bounce_address", "r" * 36 + "@univ.example"), "mail.bounce_address", "at most 35"),
    ("bounces without a password", put("mail.bounce_imap", {"host": "h", "username": "u"}), "password", "missing"),
    ("plain http", put("public_url", "http://connexion.univ.example"), "public_url", "https://"),
    ("public path", put("public_url", "https://univ.example/connexion"), "public_url", "scheme and host only"),
    ("public port", put("public_url", "https://univ.example:99999"), "public_url", "no web address"),
    ("other scheme", put("public_url", "ftp://univ.example"), "public_url", "no web address"),
    ("broker of another kind", put("jobs.broker_url", "sqs://q"), "jobs.broker_url", "amqp://user:password@host/vhost"),
    ("broker without host", put("jobs.broker_url", "redis:///0"), "jobs.broker_url", "redis://:password@host:6379/0"),
    ("broker no address", put("jobs.broker_url", "rabbit"), "jobs.broker_url", "or leave it out"),
    ("weak minimum", put("passwords.minimum", 7), "passwords.minimum", "greater than or equal to 8"),
    (
        "list not there",
        put("passwords.leaked_file", "/nowhere/leaked.txt"),
        "passwords.leaked_file",
        "there is no file",
    ),
    ("unknown profile", put("passwords.profile", "anssi"), "passwords.profile", "'standard' or 'nist'"),
    ("short key", put("secret_keys", ["a" * 31]), "secret_keys", "openssl rand -hex 32"),
    ("short second key", put("secret_keys", ["a" * 32, "b"]), "secret_keys", "at least 32"),
    ("key list empty", put("secret_keys", []), "secret_keys", "must not be empty"),
    ("key no list", put("secret_keys", "a" * 64), "secret_keys", "write a list"),
    ("unknown name", put("pubilc_url", "x"), "pubilc_url", "no such setting"),
    ("unknown name in a section", put("mail.hots", "x"), "mail.hots", "no such setting"),
    ("unknown name in a list", put("services.0.ulr", "x"), "services.0.ulr", "no such setting"),
    ("other database", put("database_url", "mysql://root@host/x"), "database_url", "postgresql+psycopg://"),
    ("broken database", put("database_url", "postgresql+psycopg://u:p@h:x/y"), "database_url", "sqlite:///path"),
    ("unknown zone", put("time_zone", "Europe/Pariss"), "time_zone", "Europe/Paris"),
    ("folder of zones", put("time_zone", "Europe"), "time_zone", "Europe/Paris"),
    ("path as zone", put("time_zone", "../../etc/passwd"), "time_zone", "Europe/Paris"),
    ("no zone", put("time_zone", ""), "time_zone", "Europe/Paris"),
    ("other language", put("default_language", "de"), "default_language", "'fr' or 'en'"),
    ("confirmation over a day", put("confirmation_hours", 25), "confirmation_hours", "24"),
    ("no confirmation time", put("confirmation_hours", 0), "confirmation_hours", "1"),
    ("ticket for ever", put("ticket_seconds", 3600), "ticket_seconds", "300"),
    ("number in words", put("ticket_seconds", "sixty"), "ticket_seconds", "integer"),
    ("log level", put("log_level", "loud"), "log_level", "'debug'"),
    ("colour", put("institution.accent", "blue"), "institution.accent", "#"),
    ("logo missing", put("institution.logo", "/nowhere/logo.svg"), "institution.logo", "no file"),
    ("help link", put("institution.help_url", "javascript:alert(1)"), "institution.help_url", "no web address"),
    ("mail port", put("mail.port", 70000), "mail.port", "65535"),
    ("mail security", put("mail.security", "ssl"), "mail.security", "'starttls'"),
    ("sender", put("mail.sender", "noreply"), "mail.sender", "name@univ.example"),
    ("sender with a second line", put("mail.sender", "a@univ.example\nBcc: b@c.example"), "mail.sender", "e-mail"),
    ("idle time", put("sessions.idle_minutes", 1), "sessions.idle_minutes", "5"),
    ("absolute time", put("sessions.absolute_hours", 1000), "sessions.absolute_hours", "168"),
    ("network with host bits", put("throttle.campus_prefixes", ["10.0.0.1/8"]), "throttle.campus_prefixes.0", "10.4"),
    ("network no list", put("throttle.campus_prefixes", "10.0.0.0/8"), "throttle.campus_prefixes", "write a list"),
    ("proxies", put("throttle.trusted_proxies", -1), "throttle.trusted_proxies", "0"),
    ("broken pattern", put("local.username_pattern", "ext.(["), "local.username_pattern", "regular expression"),
    ("charter without address", put("charter", {"version": "1"}), "charter.url", "missing"),
    ("charter address", put("charter", {"version": "1", "url": "x"}), "charter.url", "no web address"),
    ("CAS over http", put("upstreams.0.cas_url", "http://cas.univ.example"), "upstreams.0.cas_url", "https://"),
    ("CAS called local", put("upstreams.0.issuer", "local"), "upstreams.0.issuer", "choose another name"),
    ("CAS name", put("upstreams.0.issuer", "My CAS"), "upstreams.0.issuer", "pattern"),
    ("CAS version", put("upstreams.0.version", "1"), "upstreams.0.version", "'2' or '3'"),
    ("CAS time-out", put("upstreams.0.read_timeout", 0), "upstreams.0.read_timeout", "greater than 0"),
    ("CA file", put("upstreams.0.ca_file", "/nowhere/ca.pem"), "upstreams.0.ca_file", "no file"),
    ("trusted capitals", put("upstreams.0.trusted_domains", ["Univ.Example"]), "trusted_domains", "lower case"),
    ("trusted address", put("upstreams.0.trusted_domains", ["@univ.example"]), "trusted_domains", "univ.example"),
    ("two CAS of a name", put("upstreams", [CAS, CAS]), "upstreams", "same name"),
    ("attribute of CAS", put("upstreams.0.attributes", {"surname": "sn"}), "upstreams.0.attributes", "given_name"),
    ("service without address", drop("services.0.url"), "services.0.url", "missing"),
    ("service over http", put("services.0.url", "http://app.example/"), "services.0.url", "https://"),
    ("service with dots", put("services.0.url", "https://app.example/a/../b"), "services.0.url", "`..`"),
    ("service with password", put("services.0.url", "https://a:hush@app.example/"), "services.0.url", "user name"),
    ("service match", put("services.0.match", "regex"), "services.0.match", "'exact' or 'prefix'"),
    ("logout address", put("services.0.logout_urls", ["http://app.example"]), "services.0.logout_urls.0", "https://"),
    ("proxy callback", put("services.0.proxy_callbacks", ["http://a.example"]), "proxy_callbacks.0", "https://"),
    ("entry script", put("services.0.home_url", "javascript:alert(1)"), "services.0.home_url", "no web address"),
    ("anonymous script", put("services.0.anonymous_url", "data:x"), "services.0.anonymous_url", "no web address"),
    ("two services of a name", lambda values: values["services"].append(values["services"][0]), "services", "same"),
    ("service of no site", put("services.0.site", "elsewhere"), "services.app.site", "[[sites]]"),
    ("service of no profile", put("services.0.profiles", ["nobody"]), "services.app.profiles", "nobody"),
    ("charter where there is none", put("services.0.charter", True), "services.app.charter", "[charter]"),
    ("Moodle over http", put("sites.0.url", "http://updago.univ.example"), "sites.0.url", "https://"),
    ("Moodle without token", put("sites.0.token", ""), "sites.0.token", "must not be empty"),
    ("Moodle plugin", put("sites.0.plugin", "oauth"), "sites.0.plugin", "'casattras'"),
    ("two sites of a name", put("sites", [MOODLE, MOODLE]), "sites", "same name"),
    ("two profiles of a name", put("profiles", [STAFF, STAFF]), "profiles", "same name"),
    ("profile without label", put("profiles.0.label", {}), "profiles.0.label", "must not be empty"),
    ("released twice", put("services.0.attributes", {"mail": "m", "sn": "m"}), "services.0.attributes", "same name"),
    ("released as markup", put("services.0.attributes", {"mail": "a b"}), "services.0.attributes", "XML"),
    *(
        (f"released as {name}", put("services.0.attributes", {"mail": name}), "services.0.attributes", name)
        for name in ("user", "proxies", "proxy", "authenticationFailure", "isFromNewLogin", "authenticationDate")
    ),
]


def test_the_settings_these_tests_spoil_can_be_used(values: dict[str, Any]) -> None:
    assert build(values).public_url == "https://connexion.univ.example"


@pytest.mark.parametrize(("change", "name", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_setting_is_refused_by_name_with_what_to_write(
    values: dict[str, Any], change: Change, name: str, words: str
) -> None:
    values = json.loads(json.dumps(values))
    change(values)
    with pytest.raises(SettingsError) as refused:
        build(values)
    text = str(refused.value)
    lines = [line for line in text.splitlines()[1:] if name in line]
    assert lines, text
    assert words in lines[0]
    assert len(text) < 1000
    for secret in ("hush", MOODLE["token"], values.get("secret_keys", ["x" * 99])):
        assert str(secret) not in text


def test_every_fault_is_named_at_once(values: dict[str, Any]) -> None:
    del values["public_url"]
    values["mail"] = values["mail"] | {"port": 0}
    with pytest.raises(SettingsError) as refused:
        build(values)
    assert "public_url" in str(refused.value)
    assert "mail.port" in str(refused.value)


def test_a_broker_without_its_library_is_refused_with_what_to_install(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    values["jobs"] = {"broker_url": "redis://127.0.0.1/0"}
    monkeypatch.setattr("lms_bridge.settings.sections.find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match=r"jobs\.broker_url: .*celery and redis.*lms-bridge\[celery\]"):
        build(values)


def test_the_brokers_password_is_not_shown(values: dict[str, Any]) -> None:
    values["jobs"] = {"broker_url": "amqp://bridge:s3cret@mq.univ.example/bridge"}
    shown = build(values).model_dump_json()
    assert "s3cret" not in shown
    assert "mq.univ.example" in shown


def test_with_no_door_at_all_nobody_could_sign_in(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="nobody could sign in"):
        build(values | {"upstreams": [], "local": {"enabled": False}})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LMS_BRIDGE_PUBLIC_ULR", "https://x.example", "no such setting"),
        ("LMS_BRIDGE_MAIL__HOTS", "x", "no such setting"),
        ("LMS_BRIDGE_MAIL__PORT", "many", "mail.port"),
        ("LMS_BRIDGE_SECRET_KEYS", "not-a-list-but-a-secret", "LMS_BRIDGE_SECRET_KEYS is not JSON"),
        ("LMS_BRIDGE_SERVICES", "[{", "LMS_BRIDGE_SERVICES is not JSON"),
        ("LMS_BRIDGE_TIME_ZONE", "Paris", "time_zone"),
        ("LMS_BRIDGE_PUBLIC_URL", "http://univ.example", "public_url"),
    ],
)
def test_the_environment_is_refused_just_the_same(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        build(values)
    assert words in str(refused.value)
    assert "but-a-secret" not in str(refused.value)


def test_the_environment_wins_over_the_file_one_value_at_a_time(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMS_BRIDGE_MAIL__PORT", "2525")
    monkeypatch.setenv("LMS_BRIDGE_PUBLIC_URL", "https://autre.univ.example/")
    monkeypatch.setenv("LMS_BRIDGE_SECRET_KEYS", json.dumps(["k" * 40]))
    found = build(values)
    assert (found.mail.port, found.mail.host) == (2525, "127.0.0.1")
    assert found.public_url == "https://autre.univ.example"
    assert [key.get_secret_value() for key in found.secret_keys] == ["k" * 40]


def test_names_of_ours_that_are_no_settings_may_stand_in_the_environment(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CONFIG", "DEMO_PORT", "REQUIRE_SERVICES", "LIVE_MOODLE_URL"):
        monkeypatch.setenv(f"LMS_BRIDGE_{name}", "1")
    build(values)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"public_url = ", "not a TOML file"), (b"\xff\xfe", "not a TOML file"), (None, "cannot be read")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "bridge.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        load(path)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)


# --- the same from the command line ---

FILE = """
public_url = "https://connexion.univ.example"
secret_keys = ["{key}"]
database_url = "postgresql+psycopg://bridge:hush-database@127.0.0.1/bridge"

[institution]
help_email = "aide@univ.example"

[mail]
host = "mail.univ.example"
username = "bridge"
password = "hush-mail"
sender = "noreply@univ.example"

[[sites]]
name = "updago"
url = "https://updago.univ.example"
token = "hush-token"
"""
KEY = "hush-key-" + "0" * 40


def lms_bridge(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LMS_BRIDGE_")}
    return subprocess.run(
        [sys.executable, "-c", "from lms_bridge.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=clean | environment,
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "bridge.toml"
    path.write_text(FILE.format(key=KEY), encoding="utf-8")
    return path


@pytest.mark.parametrize("command", [("config", "check"), ("config", "dump"), ("db", "upgrade"), ("serve",)])
def test_every_command_ends_with_5_and_says_what_to_write(config: Path, command: tuple[str, ...]) -> None:
    config.write_text(config.read_text("utf-8").replace("time_zone", "x") + '\n[sessions]\nidle_minutes = "?"\n')
    done = lms_bridge("--config", str(config), *command)
    assert done.returncode == CONFIGURATION
    assert "sessions.idle_minutes" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hush" not in done.stdout + done.stderr


def test_a_command_without_settings_names_what_is_missing() -> None:
    done = lms_bridge("config", "check")
    assert done.returncode == CONFIGURATION
    for name in ("public_url", "secret_keys", "institution", "mail"):
        assert f"  {name}: missing." in done.stderr
    assert "Traceback" not in done.stderr


def test_good_settings_are_said_to_be_good(config: Path) -> None:
    done = lms_bridge("config", "check", LMS_BRIDGE_CONFIG=str(config))
    assert done.returncode == 0, done.stderr
    assert "https://connexion.univ.example" in done.stdout


def test_the_dump_shows_everything_but_the_secrets(config: Path) -> None:
    done = lms_bridge("--config", str(config), "config", "dump", LMS_BRIDGE_MAIL__PORT="2525")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["mail"]["port"] == 2525
    assert shown["sites"][0]["url"] == "https://updago.univ.example"
    assert "hush" not in done.stdout
    assert shown["database_url"].startswith("postgresql+psycopg://bridge:")


def _moderated(values: dict[str, Any]) -> None:
    values["sites"] = [MOODLE | {"registration": "moderated"}]
    values["profiles"] = [STAFF, {"name": "learner", "label": {"fr": "Apprenant"}}]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("imports", {"username_form": "ext.{family}"}), "which is for accounts kept here"),
        (put("imports", {"username_form": "{name}"}), "no other parts are known"),
        (put("imports", {"username_form": "{family"}), "no other parts are known"),
        (put("imports", {"username_form": "É{family}"}), "only the characters a-z 0-9 . _ @ -"),
        (put("imports", {"homonym_threshold": 10}), "greater than or equal to 35"),
        (put("imports", {"ended": {"percent": 101, "floor": 1}}), "less than or equal to 100"),
    ],
)
def test_imports_that_could_not_work_are_refused(values: dict[str, Any], change: Change, says: str) -> None:
    change(values)
    with pytest.raises(SettingsError) as refused:
        build(values)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("registration", {"username_form": "{given}.{family}"}), "do not lie within local.username_pattern"),
        (put("registration", {"username_form": "ext.{name}"}), "no other parts are known"),
        (put("registration", {"username_form": "ext.someone"}), "must be part of it"),
        (put("registration", {"profile": "guest"}), "no [[profiles]] entry called guest"),
        (put("registration", {"sponsors": ["boss"]}), "no [[profiles]] entry called boss"),
        (put("registration", {"refused_domains_file": "/nowhere"}), "there is no file"),
        (put("local", {"enabled": False}), "set local.enabled = true"),
        (_member(issuer="sel", attribute="x", value="y"), "must be among `keep`"),
        (_member(issuer="sel", attribute="x"), "belong together"),
        (_member(), "name somebody"),
        (_member(usernames=["ext.desk"], units=[""]), "a unit has no name"),
        (put("help_desk", {"members": [{"role": "boss", "usernames": ["x"]}]}), "'viewer', 'agent' or 'administrator'"),
        (put("sites", [MOODLE | {"registration": "open"}]), "'closed', 'invitation' or 'moderated'"),
    ],
)
def test_registration_that_could_not_work_is_refused(values: dict[str, Any], change: Change, says: str) -> None:
    _moderated(values)
    build(values)
    change(values)
    with pytest.raises(SettingsError) as refused:
        build(values)
    assert says in str(refused.value)
