"""`[[directories]]`: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from external_accounts.directory.ldap import LdapDirectory
from lms_bridge.runtime import build_runtime
from lms_bridge.settings import Settings, SettingsError, build
from tests.bridge_under_test import settings_values

SECRET = "the bridge's own secret"
LDAP: dict[str, Any] = {
    "name": "people",
    "kind": "ldap",
    "urls": ["ldaps://ldap.univ.example"],
    "bind_dn": "cn=bridge,dc=univ,dc=example",
    "bind_password": SECRET,
    "base": "ou=people,dc=univ,dc=example",
}


def built(tmp_path: Path, **changes: Any) -> Settings:
    return build(settings_values(tmp_path, directories=[LDAP | changes]))


def test_an_ldap_directory_is_built_with_its_places_for_choices(tmp_path: Path) -> None:
    place = {"listed": {"attribute": "supannListeRouge", "values": {"yes": "FALSE", "no": "TRUE"}}}
    runtime = build_runtime(built(tmp_path, choices=place, fixed={"supannEtablissement": ["{UAI}0000000X"]}))
    directory = runtime.directories["people"]
    runtime.close()
    assert isinstance(directory, LdapDirectory)
    assert directory.options.bind_password == SECRET
    assert directory.options.choices["listed"].values == {"yes": "FALSE", "no": "TRUE"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"urls": []}, "urls: an LDAP directory needs it"),
        ({"base": ""}, "base: an LDAP directory needs it"),
        ({"bind_dn": ""}, "bind_dn: an LDAP directory needs it"),
        ({"bind_password": ""}, "bind_password: an LDAP directory needs it"),
        ({"urls": ["ldap://ldap.univ.example"]}, "would carry passwords in the clear"),
        ({"urls": ["https://ldap.univ.example"]}, "is no LDAP address"),
        ({"urls": ["ldaps://bridge:hunter2@ldap.univ.example"]}, "ldaps://…@ldap.univ.example"),
        ({"urls": ["ldaps://ldap.univ.example/dc=univ"]}, "is no LDAP address"),
        ({"user_filter": "objectClass=person"}, "write it in brackets"),
        ({"ca_file": "/nowhere.pem"}, "there is no file"),
        ({"timeout_seconds": 60}, "timeout_seconds"),
        ({"email": ["mail)"]}, "email"),
        ({"object_classes": []}, "object_classes"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_what_cannot_be_used_is_refused_and_no_secret_is_shown(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        built(tmp_path, **change)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_in_the_clear_is_for_loopback_only(tmp_path: Path) -> None:
    assert built(tmp_path, urls=["ldap://127.0.0.1:3389"]).directories
    assert built(tmp_path, urls=["ldap://ldap.univ.example"], start_tls=True).directories
