"""Apache's mod_auth_cas in front of a page: it asks for a person, reads logout messages its own way."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bridge_under_test import APP, PASSWORD, SERVICES, Browser
from tests.outside_programs import require, require_program
from tests.peers.conftest import TlsBridge, running_tls_bridge
from tests.peers.programs import reserved_port, running_program
from tests.peers.tls import Authority

pytestmark = pytest.mark.xdist_group("mod_auth_cas")

MODULES = Path("/usr/lib/apache2/modules")
LOADED = ("mpm_prefork", "authn_core", "authz_core", "authz_user", "headers", "mime", "dir", "auth_cas")

CONFIGURATION = """
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
Mutex fcntl:{folder}
ErrorLog {folder}/error.log
TypesConfig /dev/null
DocumentRoot {folder}/www
StartServers 2
KeepAlive Off
{modules}
CASVersion 2
CASLoginURL {bridge}/cas/login
CASValidateURL {bridge}/cas/{validation}
CASValidateSAML {saml}
CASCertificatePath {ca_file}
CASCookiePath {folder}/cookies/
CASSSOEnabled On
CASAttributePrefix Cas-
<Location />
  AuthType CAS
  CASAuthNHeader Cas-User
  Require valid-user
  Header always set X-Person "expr=%{{REMOTE_USER}}"
  Header always set X-Mail "expr=%{{req:Cas-mail}}"
</Location>
"""


@dataclass
class Apache:
    """A running Apache and the bridge it asks."""

    url: str
    bridge: TlsBridge
    validation: str

    def enter(self, browser: Browser) -> str:
        """Ask for the page and sign in on the way; returns whom Apache let in."""
        browser.get(self.url + "/private/")
        answer = browser.submit(identifier="ext.ada", password=PASSWORD)
        assert answer.url.startswith(self.url), answer.text[:500]
        return answer.headers["X-Person"]

    def knows(self, browser: Browser) -> bool:
        """Whether Apache gives the page without sending the browser to CAS."""
        return browser.get(self.url + "/private/", follow=False).status_code == 200


@pytest.fixture(scope="module", params=["serviceValidate", "samlValidate"])
def apache(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Apache]:
    program = require_program("Apache (apache2-bin)", "apache2")
    require("mod_auth_cas (libapache2-mod-auth-cas)", MODULES / "mod_auth_cas.so")
    # Apache is never root, and nobody but root can enter pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="mod-auth-cas-"))
    try:
        with reserved_port() as port:
            url = f"http://127.0.0.1:{port}"
            service = {
                "name": "apache",
                "label": {"fr": "Page d’Apache", "en": "Apache's page"},
                "url": url + "/",
                "attributes": {"mail": "mail"},
            }
            services = [service, *SERVICES]
            with running_tls_bridge(tmp_path_factory.mktemp("bridge"), authority, services=services) as bridge:
                bridge.inner.add_account("ext.ada")
                _prepare(folder, port, bridge, request.param)
                command: list[str | Path] = [program, "-D", "FOREGROUND", "-f", folder / "apache.conf"]
                with running_program(command, port=port, folder=folder, user="www-data", ready=folder / "apache.pid"):
                    yield Apache(url, bridge, request.param)
    finally:
        shutil.rmtree(folder)


def _prepare(folder: Path, port: int, bridge: TlsBridge, validation: str) -> None:
    folder.chmod(0o755)
    for name in ("www/private", "cookies"):
        (folder / name).mkdir(parents=True)
    (folder / "www/private/index.html").write_text("a private page", encoding="ascii")
    shutil.copy(bridge.authority.ca_file, folder / "ca.pem")
    text = CONFIGURATION.format(
        port=port,
        folder=folder,
        modules="\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in LOADED),
        bridge=bridge.url,
        validation=validation,
        saml="On" if validation == "samlValidate" else "Off",
        ca_file=folder / "ca.pem",
    )
    (folder / "apache.conf").write_text(text, encoding="utf-8")
    if os.geteuid() == 0:
        for path in (folder, folder / "cookies"):
            shutil.chown(path, "www-data", "www-data")


def test_mod_auth_cas_lets_a_person_in(apache: Apache) -> None:
    browser = apache.bridge.browser()
    assert not apache.knows(browser)
    assert apache.enter(browser) == "ext.ada"
    assert apache.knows(browser)


def test_mod_auth_cas_reads_the_attributes_of_saml(apache: Apache) -> None:
    browser = apache.bridge.browser()
    apache.enter(browser)
    mail = browser.get(apache.url + "/private/").headers.get("X-Mail", "")
    assert mail == ("ext.ada@mail.example" if apache.validation == "samlValidate" else "")


def test_cas_18_mod_auth_cas_refuses_a_ticket_of_another_service(apache: Apache) -> None:
    browser = apache.bridge.browser()
    browser.sign_in()
    stranger = apache.bridge.browser()
    answer = stranger.get(f"{apache.url}/private/?ticket={browser.ticket(APP)}", follow=False)
    assert answer.status_code != 200
    assert not apache.knows(stranger)


def test_cas_11_single_logout_ends_the_session_in_mod_auth_cas(apache: Apache) -> None:
    leaving, staying = apache.bridge.browser(), apache.bridge.browser()
    apache.enter(leaving)
    apache.enter(staying)
    leaving.get(apache.bridge.url + "/cas/logout")
    apache.bridge.inner.runner.run_once()
    assert not apache.knows(leaving)
    assert apache.knows(staying)
