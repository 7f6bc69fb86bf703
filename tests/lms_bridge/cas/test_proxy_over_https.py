"""CAS-26: a proxy callback over https is called only when its certificate is trusted and names its host."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bridge_under_test import SERVICES, BridgeUnderTest, running_bridge
from tests.lms_bridge.cas.answers import Told, read
from tests.lms_bridge.cas.listeners import Listener
from tests.outside_programs import require_program

PORTAL = "https://portal.example/"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority of our own, and two certificates: for 127.0.0.1, and for another host."""
    folder = tmp_path_factory.mktemp("authority")
    openssl = str(require_program("OpenSSL (openssl)", "openssl"))

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    def key(name: str) -> list[str]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]

    run("req", "-x509", *key("ca"), "-out", "ca.pem", "-subj", "/CN=Test authority", "-days", "30")
    for name, host in (("good", "IP:127.0.0.1"), ("other", "DNS:elsewhere.example")):
        run("req", *key(name), "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "extension").write_text(f"subjectAltName={host}\n")
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "extension"]
        run("x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
    return folder


@pytest.fixture
def callback(request: pytest.FixtureRequest, authority: Path) -> Iterator[Listener]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    name = getattr(request, "param", "good")
    context.load_cert_chain(authority / f"{name}.pem", authority / f"{name}.key")
    with Listener(tls=context) as listener:
        yield listener


@pytest.fixture
def services(callback: Listener) -> list[dict[str, Any]]:
    portal = {"name": "portal", "label": {"fr": "Portail"}, "url": PORTAL, "proxy": True}
    return [*SERVICES, portal | {"proxy_callbacks": [callback.url]}]


def grant(bridge: BridgeUnderTest, callback: Listener) -> Told:
    bridge.add_account("ext.ada")
    browser = bridge.browser()
    browser.sign_in("ext.ada")
    return read(bridge.validate(browser.ticket(PORTAL), PORTAL, pgtUrl=callback.url))


def test_cas_26_a_callback_with_a_trusted_certificate_gets_its_grant(
    bridge: BridgeUnderTest, callback: Listener, authority: Path
) -> None:
    bridge.runtime.http.verify = str(authority / "ca.pem")
    told = grant(bridge, callback)
    assert callback.received[0].query["pgtIou"] == [told.grant_iou]


def test_cas_26_settings_name_the_authority_of_the_applications(
    services: list[dict[str, Any]], callback: Listener, authority: Path, tmp_path: Path
) -> None:
    with running_bridge(tmp_path, services=services, services_ca_file=str(authority / "ca.pem")) as bridge:
        assert grant(bridge, callback).grant_iou


def test_cas_26_a_callback_whose_authority_nobody_trusts_gets_nothing(
    bridge: BridgeUnderTest, callback: Listener
) -> None:
    assert grant(bridge, callback).code == "INVALID_PROXY_CALLBACK"
    assert not callback.received


@pytest.mark.parametrize("callback", ["other"], indirect=True)
def test_cas_26_a_callback_whose_certificate_names_another_host_gets_nothing(
    bridge: BridgeUnderTest, callback: Listener, authority: Path
) -> None:
    bridge.runtime.http.verify = str(authority / "ca.pem")
    assert grant(bridge, callback).code == "INVALID_PROXY_CALLBACK"
    assert not callback.received
