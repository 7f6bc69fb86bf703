"""A throw-away Dovecot on loopback: one mailbox, TLS only."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.outside_programs import require_program
from tests.peers.programs import reserved_port, running_program
from tests.peers.tls import Authority

USER, PASSWORD = "retours", "s3cret-of-imap"
CONFIGURATION = """\
protocols = imap
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
default_internal_user = {internal}
default_login_user = {login}
default_internal_group = {group}
first_valid_uid = 1
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home
}}
mail_location = maildir:~/Maildir
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


@dataclass(frozen=True)
class ImapServer:
    """The server's port, and the Maildir behind its only mailbox."""

    port: int
    maildir: Path

    def put(self, raw: bytes, name: str) -> None:
        """A message arrives."""
        path = self.maildir / "new" / name
        path.write_bytes(raw)
        path.chmod(0o666)

    def flags(self, name: str) -> str:
        """The flags of a message as Maildir writes them: `S` seen, `F` flagged."""
        [path] = [*self.maildir.glob(f"cur/{name}*"), *self.maildir.glob(f"new/{name}*")]
        return path.name.partition(":2,")[2]


@contextmanager
def running_imap_server(authority: Authority) -> Iterator[ImapServer]:
    dovecot = require_program("Dovecot (dovecot-imapd)", "dovecot")
    me = pwd.getpwuid(os.getuid())
    is_root = me.pw_uid == 0
    # As root Dovecot gives its processes to users made for them, and no mailbox to root.
    owner = pwd.getpwnam("nobody") if is_root else me
    with TemporaryDirectory(prefix="imap-") as name, reserved_port() as port:
        folder = Path(name)
        folder.chmod(0o755)
        maildir = folder / "home" / "Maildir"
        for part in ("new", "cur", "tmp"):
            (maildir / part).mkdir(parents=True)
        for path in (folder / "home", *folder.joinpath("home").rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        configuration = folder / "dovecot.conf"
        configuration.write_text(
            CONFIGURATION.format(
                folder=folder,
                internal="dovecot" if is_root else me.pw_name,
                login="dovenull" if is_root else me.pw_name,
                group="dovecot" if is_root else str(me.pw_gid),
                certificate=authority.certificate,
                key=authority.key,
                password=PASSWORD,
                uid=owner.pw_uid,
                gid=owner.pw_gid,
                port=port,
            )
        )
        with running_program([dovecot, "-F", "-c", configuration], port=port, folder=folder):
            yield ImapServer(port, maildir)
