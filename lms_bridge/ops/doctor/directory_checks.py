"""The directories that hold passwords: whether each address can be used, and what waits to be written there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from external_accounts.directory.ldap_options import LdapOptions
from external_accounts.directory_entries import Behind
from lms_bridge.i18n import gettext as _
from lms_bridge.i18n import ngettext
from lms_bridge.ops.doctor import words
from lms_bridge.ops.doctor.findings import Finding, Subject, foreign
from lms_bridge.settings.directories import Directory

if TYPE_CHECKING:
    from external_accounts.directory.ldap_look import AddressSeen


def look_at_directory(name: str, options: LdapOptions) -> list[AddressSeen]:
    """Every address, one after the other. Nothing is written."""
    from external_accounts.directory.ldap import LdapDirectory  # noqa: PLC0415 (an extra; nobody else carries ldap3)
    from external_accounts.directory.ldap_look import look_at_address  # noqa: PLC0415

    directory = LdapDirectory(name, options)
    return [look_at_address(directory, url) for url in options.urls]


def check(directory: Directory, seen: Sequence[AddressSeen] | None, behind: Sequence[Behind]) -> Iterator[Finding]:
    if directory.kind == "ldap":
        if seen is None:
            yield words.too_slow(_subject(directory, "reachable", _("The directory answers"), "urls"))
        for address in seen or ():
            yield reachable(directory, address)
        usable = [address for address in seen or () if not address.trouble]
        if usable:
            yield people(directory, usable)
            yield password_modify(directory, usable)
            yield _subject(directory, "writes", _("The service account may write"), "bind_dn").unseen(
                _("only a write shows it, and none is made to find out"),
                _("Compare its rights with the guide about LDAP; then reset the password of a test account by mail."),
            )
    yield entries(directory, behind)


def reachable(directory: Directory, address: AddressSeen) -> Finding:
    subject = _subject(
        directory, "reachable", _("%(url)s answers, is the one it says, and lets us in", url=address.url), "urls"
    )
    match address.step:
        case "":
            return subject.ok(_("connected, certificate verified, signed in") if _secured(directory, address)
                              else _("connected in the clear, on this very machine; signed in"))  # fmt: skip
        case "connect":
            fix = _("See urls, the network and the firewall.")
        case "tls":
            fix = _("See ca_file, and that the certificate is for this very host name; start_tls for ldap://.")
        case "sign in":
            fix = _("See bind_dn and bind_password.")
        case _:
            fix = _("See the directory's log.")
    return subject.problem(foreign(address.trouble), fix)


def _secured(directory: Directory, address: AddressSeen) -> bool:
    return directory.start_tls or address.url.startswith("ldaps:")


def people(directory: Directory, usable: Sequence[AddressSeen]) -> Finding:
    subject = _subject(directory, "people", _("People are found there"), "base")
    if missing := [address.url for address in usable if not address.base]:
        return subject.problem(
            _("%(base)s is not there, or may not be seen: %(urls)s", base=directory.base, urls=", ".join(missing)),
            _("See base, and the service account's right to search."),
        )
    if not all(address.people for address in usable):
        return subject.warning(
            _("nobody is seen with %(filter)s", filter=directory.user_filter),
            _("See user_filter, and the service account's right to read. An empty directory is as it should be."),
        )
    return subject.ok(_("somebody is seen below %(base)s", base=directory.base))


def password_modify(directory: Directory, usable: Sequence[AddressSeen]) -> Finding:
    subject = _subject(directory, "password_modify", _("It offers to set passwords (RFC 3062)"), "urls")
    if without := [address.url for address in usable if not address.password_modify]:
        return subject.problem(
            _("not offered by %(urls)s", urls=", ".join(without)),
            _("The bridge sets passwords by this operation only. Name the servers that have it."),
        )
    return subject.ok(_("offered"))


def entries(directory: Directory, behind: Sequence[Behind]) -> Finding:
    subject = _subject(directory, "entries", _("Every account that belongs there has its entry"), "directory_writes")
    waiting = next((one for one in behind if one.directory == directory.name), None)
    if waiting is None:
        return subject.ok(_("nothing waits to be written"))
    seen = ngettext("%(num)d entry waits", "%(num)d entries wait", waiting.count)
    if not waiting.failed:
        return subject.ok(seen)
    return subject.warning(
        _("%(seen)s, %(failed)d of them tried in vain: %(error)s", seen=seen, failed=waiting.failed,
          error=foreign(waiting.last_error)),
        _("They are tried again, less and less often. See the lines above, `create`, and the account's rights."),
    )  # fmt: skip


def _subject(directory: Directory, check: str, title: str, setting: str) -> Subject:
    where = setting if setting == "directory_writes" else f"directories.{directory.name}.{setting}"
    return Subject(f"directory:{directory.name}", check, title, where)
