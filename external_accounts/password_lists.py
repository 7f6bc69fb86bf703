"""Lists of passwords that other people chose, looked into without reading them into memory objects.

The shipped list is small and stays in memory as one text. A university may name a further file, of any size: plain
passwords, one a line; or the downloadable list of Have I Been Pwned, sorted by SHA-1. Nothing is asked of the network.
"""

from __future__ import annotations

import hashlib
import mmap
import re
from functools import lru_cache
from importlib import resources
from pathlib import Path

_HASHED_LINE = re.compile(rb"[0-9A-Fa-f]{40}(:\d+)?\s*$")
_HASH_LETTERS = 40


@lru_cache(maxsize=1)
def _shipped() -> bytes:
    return resources.files("external_accounts").joinpath("common_passwords.txt").read_bytes()


def is_common(word: str) -> bool:
    """Whether the shipped list holds `word`, which is lower case and without accents."""
    line = word.encode()
    return b"\n" not in line and b"\n%s\n" % line in _shipped()


class PasswordFile:
    """A file of passwords that are known to attackers. Raises OSError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._hashed = bool(_HASHED_LINE.match(file.readline(100)))

    def holds(self, password: str) -> bool:
        """Whether the file holds this very password. It is opened anew each time, so that it can be replaced."""
        with self._path.open("rb") as file:
            if not self._path.stat().st_size:
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _holds_hash(content, password) if self._hashed else _holds_line(content, password)


def _holds_line(content: mmap.mmap, password: str) -> bool:
    line = password.encode()
    if not line or b"\n" in line:
        return False
    start = content.find(line)
    while start >= 0:
        end = start + len(line)
        begins = start == 0 or content[start - 1 : start] == b"\n"
        ends = end == len(content) or content[end : end + 1] in b"\r\n"
        if begins and ends:
            return True
        start = content.find(line, start + 1)
    return False


def _holds_hash(content: mmap.mmap, password: str) -> bool:
    """A binary search: the lines are sorted, but not of one length."""
    wanted = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper().encode()
    low, high = 0, len(content)
    while low < high:
        middle = (low + high) // 2
        start = content.rfind(b"\n", low, middle) + 1 or low
        found = content[start : start + _HASH_LETTERS].upper()
        if found == wanted:
            return True
        if found < wanted:
            end = content.find(b"\n", middle, high)
            low = end + 1 if end >= 0 else high
        else:
            high = start
    return False
