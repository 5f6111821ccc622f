"""The first administrator, and the way back in: on the server's console, straight into the control store."""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from village_collector.audit import Audit
from village_collector.people.passwords import Passwords
from village_collector.stores.control import ControlStore

#: Where an act comes from, in the audit log.
CONSOLE = "console"


class WrongUser(Exception):
    """The data belongs to another user; files that this one makes there the collector could not write."""

    def __init__(self, folder: Path, owner: int) -> None:
        super().__init__(
            f"{folder} belongs to user {_name_of(owner)}: run this as that user, with sudo -u {_name_of(owner)}"
        )


def check_user(folder: Path) -> None:
    """Raise `WrongUser` unless the folder is this user's or not there yet."""
    with contextlib.suppress(FileNotFoundError):
        owner = folder.stat().st_uid
        if owner != os.geteuid():
            raise WrongUser(folder, owner)


async def make_administrator(control: ControlStore, person: str, password: str) -> bool:
    """Make a person administrator everywhere, with this password, enabled, without tokens and second factor; True if new.

    It is in the audit log before it is done. `control` is open. Raises `StoreUnavailable`.
    """
    digest = await Passwords().hash(password)
    # Seals are the running collector's.
    audit = Audit(control)
    await audit.record(_user(), CONSOLE, "person.administrator", target=person, reason="on the server's console")
    return await asyncio.to_thread(partial(control.make_administrator, person, datetime.now(UTC), digest))


def _user() -> str:
    # Who became another user by sudo is still who they were.
    return os.environ.get("SUDO_USER") or _name_of(os.geteuid())


def _name_of(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
