"""Which language a reader gets, and how dates are said in it."""

from datetime import UTC, datetime
from threading import Thread
from zoneinfo import ZoneInfo

import pytest
from babel.messages.catalog import Catalog
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, select_autoescape

from lms_bridge import i18n

PARIS = ZoneInfo("Europe/Paris")
LAST_MINUTE = datetime(2026, 11, 24, 22, 59, tzinfo=UTC)


@pytest.fixture
def env() -> Environment:
    environment = Environment(autoescape=select_autoescape(default_for_string=True))
    i18n.install(environment)
    return environment


def test_what_the_reader_just_asked_for_comes_before_what_they_chose_before() -> None:
    assert i18n.choose_locale("en", "fr", "fr", "fr") == "en"
    assert i18n.choose_locale(None, "en", "fr", "fr") == "en"


def test_the_browser_decides_when_the_reader_did_not() -> None:
    assert i18n.choose_locale(None, None, "en-GB,en;q=0.9,fr;q=0.8", "fr") == "en"
    assert i18n.choose_locale(None, None, "de,fr;q=0.5,en;q=0.3", "en") == "fr"


def test_the_default_is_the_last_resort() -> None:
    assert i18n.choose_locale("xx", "../../etc", "de", "fr") == "fr"
    assert i18n.choose_locale(None, None, None, "en") == "en"


@given(st.text(), st.text(), st.text())
def test_any_request_yields_a_language_we_have(query: str, cookie: str, header: str) -> None:
    assert i18n.choose_locale(query, cookie, header, "fr") in i18n.LOCALES


def test_a_deadline_is_said_in_full_with_hour_and_zone() -> None:
    assert i18n.format_deadline(LAST_MINUTE, PARIS, "fr") == "mardi 24 novembre 2026 à 23 h 59, heure de Paris"
    assert i18n.format_deadline(LAST_MINUTE, PARIS, "en") == "Tuesday 24 November 2026 at 23:59, Paris time"


def test_a_deadline_follows_summer_time() -> None:
    assert "23 h 59" in i18n.format_deadline(datetime(2026, 7, 1, 21, 59, tzinfo=UTC), PARIS, "fr")


def test_the_first_of_a_month_is_said_as_the_french_do() -> None:
    first = datetime(2027, 1, 1, 8, 5, tzinfo=UTC)
    assert i18n.format_deadline(first, PARIS, "fr") == "vendredi 1er janvier 2027 à 9 h 05, heure de Paris"


@pytest.mark.parametrize(
    ("zone", "french", "english"),
    [
        ("America/Martinique", "heure de Martinique", "Martinique time"),
        ("Indian/Reunion", "heure de La Réunion", "Réunion time"),
        ("Europe/Athens", "heure d'Athènes", "Athens time"),
        ("UTC", "UTC", "UTC"),
    ],
)
def test_a_zone_is_named_after_its_place(zone: str, french: str, english: str) -> None:
    assert i18n.format_deadline(LAST_MINUTE, ZoneInfo(zone), "fr").endswith(f", {french}")
    assert i18n.format_deadline(LAST_MINUTE, ZoneInfo(zone), "en").endswith(f", {english}")


def test_an_hour_is_not_split_over_two_lines() -> None:
    assert i18n.unbroken("à 23 h 59, heure") == "à 23\u00a0h\u00a059, heure"
    assert i18n.unbroken("at 23:59") == "at 23:59"


def test_a_block_has_its_own_language_and_gives_the_former_one_back() -> None:
    with i18n.use_locale("en"):
        with i18n.use_locale("fr") as french:
            assert i18n.gettext("Password") == french.gettext("Password") == "Mot de passe"
        assert i18n.gettext("Password") == "Password"


def test_a_request_keeps_the_language_it_was_given() -> None:
    with i18n.use_locale("fr"):
        i18n.activate("en")
        assert i18n.current_locale() == "en"
        assert i18n.gettext("Password") == "Password"


def test_a_thread_that_chose_nothing_speaks_the_default_language() -> None:
    heard: list[str] = []
    with i18n.use_locale("en"):
        thread = Thread(target=lambda: heard.append(i18n.gettext("Password")))
        thread.start()
        thread.join()
    assert heard == ["Mot de passe"]


def test_a_language_we_do_not_have_is_refused() -> None:
    with pytest.raises(KeyError):
        i18n.translator("xx")


def test_plurals_follow_the_language() -> None:
    one, many = "This is not the code. %(num)d try left.", "This is not the code. %(num)d tries left."
    assert i18n.translator("fr").ngettext(one, many, 0).endswith("Il reste 0 essai.")
    assert i18n.translator("en").ngettext(one, many, 0).endswith("0 tries left.")


def test_a_template_speaks_the_language_in_force_when_it_is_rendered(env: Environment) -> None:
    template = env.from_string("{{ _('Password') }}")
    with i18n.use_locale("fr"):
        assert template.render() == "Mot de passe"
    with i18n.use_locale("en"):
        assert template.render() == "Password"


def test_a_value_put_into_a_message_is_escaped(env: Environment) -> None:
    template = env.from_string("{% trans name=name %}Hello {{ name }}{% endtrans %}")
    with i18n.use_locale("fr"):
        assert template.render(name="<script>") == "Bonjour &lt;script&gt;"


def test_refreshing_keeps_translations_adds_new_messages_and_drops_unused_ones() -> None:
    known, collected = Catalog(locale="fr"), Catalog()
    known.add("kept", "gardé")
    known.add("dropped", "jeté")
    collected.add("kept")
    collected.add("new")
    written = i18n.refreshed(known, collected).decode()
    assert 'msgid "kept"\nmsgstr "gardé"' in written
    assert 'msgid "new"\nmsgstr ""' in written
    assert "dropped" not in written
    assert "POT-Creation-Date" not in written


@pytest.mark.parametrize(("locale", "shown"), [("en", "12,345 users"), ("fr", "12\u202f345 users")])
def test_a_large_count_is_written_in_groups(locale: str, shown: str) -> None:
    environment = Environment(autoescape=True)
    i18n.install(environment)
    template = environment.from_string(
        "{% trans count=count, number=number %}{{ count }} user{% pluralize %}{{ count }} users{% endtrans %}"
    )
    with i18n.use_locale(locale):
        assert template.render(count=12345, number=4217) == shown
        assert template.render(count=1, number=4217) == "1 user"
