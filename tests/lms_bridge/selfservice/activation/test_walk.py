"""The whole way, over HTTP: announced, mailed, answered step by step, activated."""

from __future__ import annotations

from tests.bridge_under_test import heading
from tests.lms_bridge.mailing import link_in
from tests.lms_bridge.selfservice.activation.town import CHOSEN, DONE, PRIVATE, Town


def test_an_adjunct_teacher_activates_the_account_by_the_first_mail(town: Town) -> None:
    account_id = town.announce()
    mail = town.mailbox.newest()
    assert mail.to == PRIVATE
    assert "nlopez" in mail.text
    assert not town.directory.verify("nlopez", CHOSEN)
    browser = town.finish(link_in(mail))
    assert (browser.page.status_code, heading(browser.page)) == (200, DONE)
    assert town.directory.verify("nlopez", CHOSEN)
    account = town.account(account_id)
    assert account.activated_at == town.bridge.clock()
    confirmed = {address.email for address in account.addresses if address.confirmed_at}
    assert confirmed == {PRIVATE}
