"""From the staff office's file to the person's password: every station of the way, one after the other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from click.testing import CliRunner
from sqlalchemy import select

from external_accounts.schema import Account
from lms_bridge.cli import main
from tests.bridge_under_test import heading, settings_values
from tests.lms_bridge.mailing import link_in
from tests.lms_bridge.selfservice.activation.town import CHOSEN, DONE, SETTINGS, Town, plain
from tests.served_bridge import to_toml

STAFF = """matricule;nom;prénom;adresse personnelle;fin
V-17;Lopez;Nora;nora@mail.example;{year}-07-31
V-18;Lopez;Noé;noe@mail.example;{year}-07-31
"""


def test_a_line_of_the_file_becomes_an_entry_a_mail_and_an_account_that_signs_in(tmp_path: Path, town: Town) -> None:
    bridge = town.bridge
    bridge.clock.moment = datetime.now(UTC)  # the command goes by the machine's clock
    config = tmp_path / "lms-bridge.toml"
    keys = [key.get_secret_value() for key in bridge.runtime.settings.secret_keys]
    config.write_text(to_toml(settings_values(tmp_path, secret_keys=keys, **SETTINGS)), encoding="utf-8")
    file = tmp_path / "staff.csv"
    file.write_text(STAFF.format(year=bridge.clock().year + 1), encoding="utf-8")

    done = CliRunner().invoke(main, ["--config", str(config), "import", str(file), "--profile", "vacataire", "--apply"])

    assert done.exit_code == 0, done.output
    bridge.clock.forward(seconds=1)
    mails = {mail.to: mail for mail in town.mailbox.all()}
    assert set(mails) == {"nora@mail.example", "noe@mail.example"}
    with bridge.runtime.database.read() as session:
        username = session.scalars(select(Account.username).where(Account.external_key == "V-17")).one()
    assert username in mails["nora@mail.example"].text
    entry = town.directory.find(username)
    assert entry is not None, "the directory has the person before they choose a password"
    assert (entry.given_name, entry.family_name) == ("Nora", "Lopez")
    assert not town.directory.verify(username, CHOSEN)

    browser = town.finish(link_in(mails["nora@mail.example"]))

    assert heading(browser.page) == DONE
    assert "/signin/sel" in plain(browser.page) + browser.page.text
    assert town.directory.verify(username, CHOSEN)
    again = CliRunner().invoke(
        main, ["--config", str(config), "import", str(file), "--profile", "vacataire", "--apply"]
    )
    assert again.exit_code == 0, again.output
    assert town.directory.verify(username, CHOSEN), "the same file once more takes nothing from anybody"
    assert len(town.mails_to("noe@mail.example")) == 1, "nobody is written to twice"
