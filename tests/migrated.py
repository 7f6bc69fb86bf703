"""Databases in their newest form, without going through all of its history each time.

The history itself is what `tests/lms_bridge/test_migrations.py` walks.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from external_accounts.database import Database
from lms_bridge import migrations


def migrate(database: Database) -> None:
    """As `migrations.upgrade`. A new SQLite file is a copy of one that this process migrated before."""
    path = Path(database.url.database or "")
    if not database.is_sqlite or path.exists():
        migrations.upgrade(database)
    else:
        shutil.copyfile(_migrated(), path)


@functools.cache
def _migrated() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="lms-bridge-migrated-")
    atexit.register(folder.cleanup)
    database = Database(f"sqlite:///{folder.name}/bridge.db")
    migrations.upgrade(database)
    database.close()  # the last one to go writes everything into the file itself
    return Path(folder.name) / "bridge.db"
