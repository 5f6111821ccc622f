"""The keys that sign commands, and how one follows another without any agent losing its collector.

Files of the keys folder: `command_key` signs; `command_key.next` will; `command_keys.json` is the document that agents have
(`village_wire.command_keys`), signed by the authority. What the files say together is the truth: after a stop between any two of
them the collector goes on with a key that the document names, and the next step repairs the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_collector.data_dir import DataDirProblem, write_atomically
from village_collector.trust.authority import Authority
from village_collector.trust.key_files import PRIVATE, PUBLIC, key_pem, load_signing_key, read_signing_key
from village_wire.command_keys import (
    CommandKey,
    CommandKeys,
    InvalidKeys,
    read_command_keys,
    sign_command_keys,
)
from village_wire.signed import encode, encode_public_key

KEY_FILE, NEXT_FILE, PUBLIC_FILE, DOCUMENT_FILE = (
    "command_key",
    "command_key.next",
    "command_key.pub",
    "command_keys.json",
)
_LOCK_FILE = "command_keys.lock"
#: Agents take the old key for so long after its last signature: a command lives up to an hour, and clocks differ.
GRACE = timedelta(minutes=65)
DEFAULT_OVERLAP = timedelta(days=7)
#: With a longer one the old key would be as good as never gone.
MAX_OVERLAP = timedelta(days=90)
_DANGER = "which opens doors: chmod 600 it, and `village-collector command-key rotate --compromised` if somebody did"


class RotationRefused(DataDirProblem):
    """The keys stay as they are; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What the files say. `signed` is `document` with the authority's signature; until `switch` `present` signs, then `following`.

    From `ends` on the old key is out of the document: the files are to be read again then.
    """

    document: CommandKeys
    signed: Mapping[str, Any]
    present: Ed25519PrivateKey = field(repr=False)
    following: Ed25519PrivateKey | None = field(default=None, repr=False)
    ends: datetime | None = None

    @property
    def switch(self) -> datetime | None:
        """From when on `following` signs."""
        return None if self.ends is None else self.ends - GRACE

    def signer(self, now: datetime) -> Ed25519PrivateKey:
        """Return the key that signs at this moment."""
        return self.following if self.following and self.switch and now >= self.switch else self.present

    @property
    def payload(self) -> bytes:
        """The signed document as it travels to agents."""
        return encode(dict(self.signed))


def load_command_key(folder: Path, shared: Path | None = None) -> Ed25519PrivateKey:
    """Return the key of `command_key`, as `load_signing_key`; `command_key.pub` in `folder` is written anew each time."""
    key = load_signing_key(KEY_FILE, folder, shared, _DANGER)
    path = folder / PUBLIC_FILE
    try:
        write_atomically(path, f"{encode_public_key(key.public_key())}\n".encode(), PUBLIC)
    except OSError as error:
        raise DataDirProblem(f"{error.filename or path}: {error.strerror}") from None
    return key


def load_ring(keys_folder: Path, authority: Authority, now: datetime) -> KeyRing:
    """Read the files; nothing is written. `command_key` must be there; without a document the first one is made up.

    Raises:
        DataDirProblem: a file can't be read, is not what it should be, or they don't belong together.
    """
    try:
        present = read_signing_key(keys_folder / KEY_FILE, _DANGER)
        following = read_signing_key(keys_folder / NEXT_FILE, _DANGER) if (keys_folder / NEXT_FILE).exists() else None
        document, signed = _read_document(keys_folder / DOCUMENT_FILE, authority)
    except OSError as error:
        raise DataDirProblem(f"{error.filename or keys_folder}: {error.strerror}") from None
    if document is None:
        document = CommandKeys(number=1, keys=(_named(present),))
    known = {_text(key): key for key in (present, following) if key is not None}
    last = known.get(document.keys[-1].key)
    if last is None:
        raise DataDirProblem(
            f"{DOCUMENT_FILE} in {keys_folder} names a key that neither {KEY_FILE} nor {NEXT_FILE} holds;"
            " copy all three from the collector on which the keys were rotated"
        )
    first = document.keys[0]
    if len(document.keys) > 1 and first.until is not None and now < first.until:
        # Once the new key has taken the old one's place, there is only it to sign with.
        signs = known.get(first.key, last)
        return KeyRing(document, signed or sign_command_keys(document, authority.key), signs, last, first.until)
    if len(document.keys) > 1:
        document, signed = CommandKeys(number=document.number + 1, keys=(_named(last),)), None
    return KeyRing(document, signed or sign_command_keys(document, authority.key), last)


def settle(keys_folder: Path, authority: Authority, now: datetime) -> KeyRing:
    """Read the files and bring them to what they say: a key whose time has come takes its place, and the document is on disk.

    A folder that this program may not write stays as it is; the ring is the same.

    Raises:
        DataDirProblem: as `load_ring`.
    """
    try:
        with _alone(keys_folder):
            ring = load_ring(keys_folder, authority, now)
            if ring.ends is None and _text(ring.present) != _text(read_signing_key(keys_folder / KEY_FILE, _DANGER)):
                (keys_folder / NEXT_FILE).rename(keys_folder / KEY_FILE)
            if _read_document(keys_folder / DOCUMENT_FILE, authority)[0] != ring.document:
                write_atomically(keys_folder / DOCUMENT_FILE, ring.payload, PUBLIC)
            return ring
    except OSError:
        return load_ring(keys_folder, authority, now)


def rotate(
    keys_folder: Path,
    authority: Authority,
    now: datetime,
    overlap: timedelta = DEFAULT_OVERLAP,
    *,
    compromised: bool = False,
) -> KeyRing:
    """Make the next key and name it to the agents; the present one goes on signing for `overlap`, or, if `compromised`, is out at once.

    Raises:
        RotationRefused: another rotation is under way, `overlap` is outside its limits, or the folder is another user's.
        DataDirProblem: as `load_ring`, or the files can't be written.
    """
    if not timedelta(0) < overlap <= MAX_OVERLAP:
        raise RotationRefused(f"the overlap must be over 0 and at most {MAX_OVERLAP.days} days")
    _check_owner(keys_folder)
    ring = settle(keys_folder, authority, now)
    try:
        with _alone(keys_folder):
            number = ring.document.number
            if ring.ends is not None:
                if not compromised:
                    raise RotationRefused(
                        f"a rotation is under way: the old key counts until {ring.ends:%Y-%m-%d %H:%M} UTC;"
                        " wait, or use --compromised to end it with a key that nobody has seen"
                    )
                # The key that was to follow counts no more; only then its file may be replaced.
                number += 1
                _write_document(keys_folder, authority, number, _named(ring.present))
            key = Ed25519PrivateKey.generate()
            write_atomically(keys_folder / NEXT_FILE, key_pem(key), PRIVATE)
            old = [] if compromised else [_named(ring.present, now + overlap + GRACE)]
            _write_document(keys_folder, authority, number + 1, *old, _named(key))
    except OSError as error:
        raise DataDirProblem(f"{error.filename or keys_folder}: {error.strerror}") from None
    return settle(keys_folder, authority, now)


def files_of(keys_folder: Path) -> tuple[Path, ...]:
    """Return the files that tell a change."""
    return tuple(keys_folder / name for name in (KEY_FILE, NEXT_FILE, DOCUMENT_FILE))


def _read_document(path: Path, authority: Authority) -> tuple[CommandKeys, dict[str, Any]] | tuple[None, None]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None, None
    try:
        return read_command_keys(content, authority.key.public_key()), json.loads(content)
    except InvalidKeys as error:
        raise DataDirProblem(f"{path}: {error}; restore it from a backup, or copy it with ca.key") from None


def _write_document(keys_folder: Path, authority: Authority, number: int, *keys: CommandKey) -> None:
    signed = sign_command_keys(CommandKeys(number=number, keys=keys), authority.key)
    write_atomically(keys_folder / DOCUMENT_FILE, encode(signed), PUBLIC)


def _named(key: Ed25519PrivateKey, until: datetime | None = None) -> CommandKey:
    return CommandKey(key=_text(key), until=until)


def _text(key: Ed25519PrivateKey) -> str:
    return encode_public_key(key.public_key())


def _check_owner(keys_folder: Path) -> None:
    try:
        owner = keys_folder.stat().st_uid
    except OSError as error:
        raise DataDirProblem(f"{keys_folder}: {error.strerror}") from None
    if owner != os.geteuid():
        name = str(owner)
        with contextlib.suppress(KeyError):
            name = pwd.getpwuid(owner).pw_name
        raise RotationRefused(
            f"{keys_folder} belongs to {name}, who could not read new keys of yours: sudo -u {name} …"
        )


@contextmanager
def _alone(keys_folder: Path) -> Iterator[None]:
    lock = os.open(keys_folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
