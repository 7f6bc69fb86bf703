"""Bounces by file drop: a Maildir, or a folder into which a mail server writes one file a message.

Whoever writes a plain folder gives the file its name when it is complete (rename); names that begin with a dot or end
in `.tmp` are left alone. A file is moved aside when its effects are in the database: read twice, it counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

LARGEST = 1024 * 1024
"""Bytes looked at. A report stands first in its message; what is returned may be long."""
BATCH = 200
KEEP = timedelta(days=30)
"""How long what was moved aside is kept: it holds people's addresses."""

DONE, UNREADABLE = "done", "unreadable"


def read(folder: Path, take: Callable[[bytes], str], *, now: datetime) -> int:
    """Give each message to `take`, then move its file to `done/`, or to `unreadable/` when that is its answer.

    Returns how many were taken. Several processes may do this at once.

    Raises:
        OSError: the folder cannot be read or written.
    """
    taken = 0
    for path in list(waiting(folder))[:BATCH]:
        try:
            with path.open("rb") as file:
                raw = file.read(LARGEST)
        except FileNotFoundError:
            continue  # another process had it
        outcome = take(raw)
        aside = folder / (UNREADABLE if outcome == UNREADABLE else DONE)
        aside.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            path.rename(aside / path.name.replace(":", "_"))
        taken += 1
    if taken:
        _forget_old(folder, now)
    return taken


def waiting(folder: Path) -> Iterator[Path]:
    """The messages that nobody has read yet, oldest name first."""
    place = folder / "new" if (folder / "new").is_dir() else folder
    for path in sorted(place.iterdir()):
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".tmp":
            yield path


def _forget_old(folder: Path, now: datetime) -> None:
    for name in (DONE, UNREADABLE):
        if (aside := folder / name).is_dir():
            for path in aside.iterdir():
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < (now - KEEP).timestamp():
                        path.unlink()
