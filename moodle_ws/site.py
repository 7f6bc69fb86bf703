"""Which Moodle is this, who are we there, and what may we call."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moodle_ws.errors import UnreadableAnswer
from moodle_ws.fields import flag, integer, text

if TYPE_CHECKING:
    from moodle_ws.client import MoodleClient

_BRANCH = re.compile(r"\s*(\d+)\.(\d+)")


@dataclass(frozen=True)
class SiteInfo:
    """What `core_webservice_get_site_info` says, without its secrets (`userprivateaccesskey`, `sitesecret`).

    Attributes carry Moodle's names; None means the site did not say. `version` and the versions in `functions` are
    text, not numbers: 5.2 has decimals (`2026042001.06`). `policyagreed` exists from 4.5, `usercanchangeconfig` from
    5.2 (it should be False for a service token). A healthy site information does not prove that the token's user can
    work: a pending policy or password change shows only in functions that validate a context (ground truth §2).
    """

    siteurl: str
    username: str
    userid: int
    sitename: str | None
    release: str | None
    version: str | None
    functions: Mapping[str, str]
    lang: str | None
    userissiteadmin: bool | None
    policyagreed: bool | None
    usercanchangeconfig: bool | None

    @property
    def branch(self) -> tuple[int, int] | None:
        """Major and minor number of the release, `(4, 5)` for `4.5.6 (Build: 20250811)`; None when unreadable."""
        match = _BRANCH.match(self.release or "")
        return (int(match[1]), int(match[2])) if match else None

    def missing_functions(self, needed: frozenset[str]) -> frozenset[str]:
        """Those of `needed` that the token may not call."""
        return needed - self.functions.keys()


def site_info(client: "MoodleClient") -> SiteInfo:
    """The site information. Raises MoodleError."""
    function = "core_webservice_get_site_info"
    answer = client.call(function, read=True)
    if not isinstance(answer, dict):
        raise UnreadableAnswer("site information is not a structure", function=function)
    siteurl, username, userid = text(answer, "siteurl"), text(answer, "username"), integer(answer, "userid")
    if siteurl is None or username is None or userid is None:
        raise UnreadableAnswer("site information lacks the site's address or the user", function=function)
    listed = answer.get("functions") or []
    return SiteInfo(
        siteurl=siteurl,
        username=username,
        userid=userid,
        sitename=text(answer, "sitename"),
        release=text(answer, "release"),
        version=text(answer, "version"),
        functions={str(item.get("name")): str(item.get("version")) for item in listed if isinstance(item, dict)},
        lang=text(answer, "lang"),
        userissiteadmin=flag(answer, "userissiteadmin"),
        policyagreed=flag(answer, "policyagreed"),
        usercanchangeconfig=flag(answer, "usercanchangeconfig"),
    )
