"""D18, I3: people are told that mail is slow, and the telling says nothing about anybody's own mail."""

from __future__ import annotations

from tests.lms_bridge.selfservice.conftest import Scene

NOTICE = "Notre serveur de courriel est lent"


def shown(scene: Scene) -> bool:
    """Whether the notice is there to be seen, on the page and for the page's script."""
    page = scene.ada.get(scene.ada.page.url)
    [line] = [line for line in page.text.splitlines() if "data-slow" in line]
    said = scene.ada.session.get(f"{page.url}/state", timeout=20).json()
    assert NOTICE in line
    assert said == {"confirmed": False, "slow": "hidden" not in line}
    return bool(said["slow"])


def test_a_mail_that_waits_for_half_a_minute_is_said_to_be_on_its_way(scene: Scene) -> None:
    scene.mailbox.refuse_with("451 4.3.2 not now")
    scene.ask()
    assert scene.mailbox.all() == []
    scene.bridge.clock.forward(seconds=29)
    assert not shown(scene)
    scene.bridge.clock.forward(seconds=1)
    assert shown(scene)
    scene.mailbox.refuse_with(None)
    scene.bridge.clock.forward(seconds=30)
    assert len(scene.mailbox.all()) == 1
    assert not shown(scene)


def test_i3_what_is_said_is_the_same_for_somebody_whose_own_mail_has_left(scene: Scene) -> None:
    scene.asked()
    scene.bridge.add_account("ext.bob", confirmed=False)
    bob = scene.bridge.browser()
    bob.sign_in("ext.bob", service="https://app.example/landing")
    bob.submit()
    scene.bridge.clock.forward(seconds=31)
    assert shown(scene), "everybody's mail is late, hers is not"
