"""What the peers share: certificates, and a bridge with a TLS face."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bridge_under_test import BridgeUnderTest, Browser, running_bridge
from tests.peers.tls import Authority, new_authority, tls_face


@dataclass
class TlsBridge:
    """A bridge as people reach it: by https."""

    inner: BridgeUnderTest
    url: str
    port: int
    authority: Authority

    def browser(self) -> Browser:
        browser = Browser(self.url)
        browser.session.trust_env = False  # a CA bundle named there would win over ours
        browser.session.verify = str(self.authority.ca_file)
        return browser


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA and its certificate for 127.0.0.1."""
    return new_authority(tmp_path_factory.mktemp("ca"))


@contextmanager
def running_tls_bridge(folder: Path, authority: Authority, **changes: Any) -> Iterator[TlsBridge]:
    """A bridge behind a TLS face; `changes` as for `running_bridge`."""
    with tls_face(authority) as face, running_bridge(folder, public_url=face.url, **changes) as inner:
        face.start(int(inner.url.rpartition(":")[2]))
        yield TlsBridge(inner, face.url, face.port, authority)
