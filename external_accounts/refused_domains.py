"""Addresses that nobody keeps: domains of disposable mail, and those a university adds.

A rule on what was typed and nothing else, so that the answer says nothing about accounts (I3).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from external_accounts.addresses import EmailAddress


def is_refused(address: EmailAddress, refused: Collection[str], *, allowed: Collection[str] = ()) -> bool:
    """Whether the address's domain, or one it lies below, is among `refused`. What is `allowed` wins."""
    domain = address.key.rpartition("@")[2]
    labels = domain.split(".")
    chain = [".".join(labels[start:]) for start in range(len(labels) - 1)]
    for name in chain:  # the longest first: an exception below a refused domain counts
        if name in allowed:
            return False
        if name in refused:
            return True
    return False


@lru_cache(maxsize=1)
def disposable_domains() -> frozenset[str]:
    """The shipped list: several thousand services that give out a mailbox for ten minutes."""
    from disposable_email_domains import blocklist  # noqa: PLC0415 (only processes that register people carry it)

    return frozenset(blocklist)


def read_domains(path: Path) -> frozenset[str]:
    """A university's own list: one domain a line, `#` begins a comment."""
    lines = (line.partition("#")[0].strip().lower() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line)
