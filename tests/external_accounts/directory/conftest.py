"""Directories on a running slapd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from external_accounts.directory.ldap import LdapDirectory
from external_accounts.directory.ldap_options import ChoicePlace, LdapOptions
from tests.directory_server import PEOPLE, SERVICE, SERVICE_PASSWORD, DirectoryServer

OpenDirectory = Callable[..., LdapDirectory]


@pytest.fixture
def open_directory(slapd: DirectoryServer) -> OpenDirectory:
    """Makes a directory on the server: over StartTLS, entries created, unless told otherwise."""

    def open_it(**changes: Any) -> LdapDirectory:
        options: dict[str, Any] = {
            "urls": (slapd.url,),
            "start_tls": True,
            "ca_file": slapd.authority.ca_file,
            "bind_dn": SERVICE,
            "bind_password": SERVICE_PASSWORD,
            "base": PEOPLE,
            "user_filter": "(objectClass=inetOrgPerson)",
            "object_classes": ("inetOrgPerson", "supannPerson"),
            "create": True,
            "timeout_seconds": 5,
            "fixed": {"supannEtablissement": ("{UAI}0000000X",)},
            "choices": {
                "listed": ChoicePlace("supannListeRouge", {"yes": "FALSE", "no": "TRUE"}),
                "forward_to": ChoicePlace("mailForwardingAddress"),
            },
        }
        return LdapDirectory("people", LdapOptions(**(options | changes)))

    return open_it
