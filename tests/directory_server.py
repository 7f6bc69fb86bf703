"""A throw-away OpenLDAP server (Debian's `slapd`) on free loopback ports, and a proxy that stalls in front of it.

Nothing of the machine's own slapd is touched: configuration, certificates and data live in a temporary folder. The
service account has the rights that docs/guides/annuaire-ldap.md asks for, and no more.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from ldap3 import NONE, Connection, Server

from tests.outside_programs import require_program
from tests.peers.programs import reserved_port
from tests.peers.tls import new_authority

BASE = "dc=univ,dc=example"
PEOPLE = f"ou=people,{BASE}"
ADMIN, ADMIN_PASSWORD = f"cn=admin,{BASE}", "the admin of the tests"
SERVICE, SERVICE_PASSWORD = f"cn=bridge,ou=services,{BASE}", "the bridge's own secret"
READER, READER_PASSWORD = f"cn=reader,ou=services,{BASE}", "may only look"
START_SECONDS = 30

# The attributes of SupAnn that the tests use: names and numbers are facts, the rest of the schema is not needed.
SUPANN_SCHEMA = """
attributetype ( 1.3.6.1.4.1.7135.1.2.1.1 NAME 'supannListeRouge' EQUALITY booleanMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.7135.1.2.1.14 NAME 'supannEtablissement' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.7135.1.2.1.27 NAME 'supannMailPerso' EQUALITY caseIgnoreIA5Match
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( 1.3.6.1.4.1.4203.666.9.1 NAME 'mailForwardingAddress' EQUALITY caseIgnoreIA5Match
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
objectclass ( 1.3.6.1.4.1.7135.1.1.2.1 NAME 'supannPerson' SUP top AUXILIARY
  MAY ( supannListeRouge $ supannEtablissement $ supannMailPerso $ mailForwardingAddress ) )
"""

POLICY = f"cn=policy,{BASE}"


class DirectoryServer:
    """slapd with a password policy: at least 14 signs, and none of the last 3."""

    def __init__(self, folder: Path) -> None:
        self._program = require_program("OpenLDAP (slapd)", "slapd")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.authority = new_authority(folder / "tls")
        self._ports = ExitStack()
        self.port, self.tls_port = (self._ports.enter_context(reserved_port()) for _ in range(2))
        (folder / "data").mkdir()
        (folder / "supann.schema").write_text(SUPANN_SCHEMA, encoding="ascii")

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"ldaps://127.0.0.1:{self.tls_port}"

    def start(self, *, read_only: bool = False, referral: str = "") -> None:
        config = self._folder / "slapd.conf"
        config.write_text(self._configuration(read_only, referral), encoding="utf-8")
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            [self._program, "-f", config, "-h", f"{self.url}/ {self.tls_url}/", "-d", "0"], stdout=log, stderr=log
        )
        log.close()
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            text = (self._folder / "log").read_text(errors="replace")[-2000:]
            assert self._process.poll() is None, f"slapd ended:\n{text}"
            assert time.monotonic() < deadline, f"slapd does not answer:\n{text}"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        self.stop()
        self._ports.close()

    def fill(self) -> None:
        """The tree, the service accounts and the policy. The people are the tests'."""
        with self.admin() as admin:
            admin.add(BASE, ["dcObject", "organization"], {"dc": "univ", "o": "Université"})
            for unit in ("people", "services"):
                admin.add(f"ou={unit},{BASE}", "organizationalUnit")
            for dn, password in ((SERVICE, SERVICE_PASSWORD), (READER, READER_PASSWORD)):
                admin.add(dn, ["organizationalRole", "simpleSecurityObject"], {"userPassword": password})
            admin.add(
                POLICY,
                ["organizationalRole", "pwdPolicy"],
                {
                    "pwdAttribute": "userPassword",
                    "pwdMinLength": 14,
                    "pwdCheckQuality": 1,
                    "pwdInHistory": 3,
                },
            )

    def empty(self) -> None:
        """Take the people away, and what a test did to the policy."""
        with self.admin() as admin:
            admin.search(PEOPLE, "(objectClass=*)", "LEVEL", attributes=["1.1"])
            for dn in [row["dn"] for row in admin.response]:
                admin.delete(dn)

    @contextmanager
    def admin(self) -> Iterator[Connection]:
        connection = Connection(
            Server("127.0.0.1", port=self.port, get_info=NONE),
            ADMIN,
            ADMIN_PASSWORD,
            auto_bind=True,
            raise_exceptions=True,
            check_names=False,
        )
        try:
            yield connection
        finally:
            connection.unbind()

    def entry(self, username: str) -> dict[str, list[str]]:
        """The attributes of a person, as the admin sees them."""
        with self.admin() as admin:
            admin.search(PEOPLE, f"(uid={username})", attributes=["*"])
            return {
                name: [value.decode() for value in values]
                for row in admin.response
                for name, values in row["raw_attributes"].items()
            }

    def _answers(self) -> bool:
        for port in (self.port, self.tls_port):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=2).close()
            except OSError:
                return False
        return True

    def _configuration(self, read_only: bool, referral: str) -> str:
        tls = self.authority
        return f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include {self._folder}/supann.schema
pidfile {self._folder}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
TLSCACertificateFile {tls.ca_file}
TLSCertificateFile {tls.certificate}
TLSCertificateKeyFile {tls.key}
disallow bind_anon
database mdb
maxsize 67108864
suffix "{BASE}"
directory {self._folder}/data
rootdn "{ADMIN}"
rootpw "{ADMIN_PASSWORD}"
index objectClass,uid eq
{f"updatedn cn=nobody,{BASE}" if referral else ""}
{f"updateref {referral}" if referral else ""}
{"readonly on" if read_only else ""}
overlay ppolicy
ppolicy_default "{POLICY}"
access to dn.subtree="{PEOPLE}" attrs=userPassword
  by dn.exact="{SERVICE}" =ws
  by anonymous auth
  by * none
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="{PEOPLE}"
  by dn.exact="{SERVICE}" write
  by dn.exact="{READER}" read
  by * none
access to dn.base="{BASE}"
  by dn.exact="{SERVICE}" search
  by dn.exact="{READER}" search
  by * none
"""


@contextmanager
def directory_server(folder: Path) -> Iterator[DirectoryServer]:
    """A running server with its tree."""
    server = DirectoryServer(folder)
    try:
        server.start()
        server.fill()
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def running_slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectoryServer]:
    with directory_server(tmp_path_factory.mktemp("slapd")) as server:
        yield server


@pytest.fixture
def slapd(running_slapd: DirectoryServer) -> DirectoryServer:
    """The server, without people."""
    running_slapd.empty()
    return running_slapd


@pytest.fixture
def restarted(slapd: DirectoryServer) -> Iterator[DirectoryServer]:
    """The server, which a test may stop, or start otherwise: it is itself again afterwards."""
    yield slapd
    slapd.stop()
    slapd.start()


@pytest.fixture
def proxy(slapd: DirectoryServer) -> Iterator[StallingProxy]:
    proxy = StallingProxy(slapd.port)
    yield proxy
    proxy.close()


class StallingProxy:
    """Passes bytes on to a port of loopback until it is told to hold them back: a server that is there and silent."""

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self._target = target
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.stall_after: int | None = None
        """Bytes from a client after which nothing is passed on any more, in any connection; None: never."""
        self.silent_after: bytes | None = None
        """Passed on when a client says it; what the server answers then is held back."""
        self._open: list[socket.socket] = [self._listener]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # stopped: as if nobody listened here
                client.close()
                continue
            self._open += [client, server]
            silent = threading.Event()
            threading.Thread(target=self._ask, args=(client, server, silent), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client, silent), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        passed = 0
        with suppress(OSError):
            while data := client.recv(65536):
                passed += len(data)
                if self.stall_after is not None and passed > self.stall_after:
                    continue
                if self.silent_after is not None and self.silent_after in data:
                    silent.set()
                server.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket, silent: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if not silent.is_set():
                    client.sendall(data)
