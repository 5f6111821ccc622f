"""The collector's folder: one collector at a time, its name, and where it listens."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_ADDRESSES, _LOCK, _NAME = "addresses.json", "lock", "collector_id"


class DataDirProblem(Exception):
    """The folder or a file in it can't be used; the text names it and says what to do."""


class AlreadyRunning(DataDirProblem):
    """Another collector uses the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder if need be (0700) and keep other collectors out of it.

    Raises:
        AlreadyRunning: another collector uses it.
        DataDirProblem: it can't be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirProblem(f"data_dir {folder}: {error.strerror}; give this user the right to write there") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRunning(
                f"another collector uses {folder}; stop it, or give this one another data_dir"
            ) from None
        yield
    finally:
        os.close(lock)


def load_collector_id(folder: Path) -> str:
    """Return this collector's MQTT client id, made at the first call. A stable one ends the connection that a power cut left behind.

    Raises:
        DataDirProblem: the file can't be read or written.
    """
    path = folder / _NAME
    try:
        if not path.exists():
            write_atomically(path, f"collector-{secrets.token_hex(8)}\n".encode(), 0o644)
        return path.read_text().strip()[:60]
    except (OSError, UnicodeDecodeError) as error:
        raise DataDirProblem(f"{path}: {error}") from None


def write_addresses(folder: Path, addresses: Mapping[str, str]) -> None:
    """Write where the collector listens to `addresses.json`; raises `DataDirProblem`."""
    try:
        write_atomically(folder / _ADDRESSES, json.dumps(dict(addresses), indent=1).encode() + b"\n", 0o644)
    except OSError as error:
        raise DataDirProblem(f"{folder / _ADDRESSES}: {error.strerror}") from None


def remove_addresses(folder: Path) -> None:
    """Take `addresses.json` away."""
    (folder / _ADDRESSES).unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes, mode: int, *, replace: bool = True) -> None:
    """Write a file with these rights; after a power cut either the whole of it is there or nothing. Raises `OSError`."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.rename(path)
        else:
            path.hardlink_to(temporary)
            temporary.unlink()
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
