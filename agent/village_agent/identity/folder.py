"""The identity on disk: `<state_dir>/identity`, a link to a folder that is written as a whole.

A certificate is worthless without its key, and command keys without their authority. So all of it goes into a new folder, and one
rename of the link makes it count: a kill at any line leaves either the old identity or the new one. Only the document of command keys
changes alone, in a file of its own.

Certificates are taken apart when they are written (`certificates.py`, some 25 ms and 1.3 MB). Reading compares what was found then,
the digest of each file included, so that the agent starts without that.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from village_wire.address import BrokerAddress
from village_wire.areas import Area
from village_wire.clocks import Instant
from village_wire.command_keys import MAX_KEYS_BYTES, CommandKeys, InvalidKeys, read_command_keys
from village_wire.ids import AgentId

KEY, CERTIFICATE, AUTHORITY = "agent.key", "agent.pem", "ca.pem"
RECORD, COMMAND_KEYS = "identity.json", "command_keys.json"
_LINK = "identity"
#: The key of a request that has no answer yet.
_PENDING = "enrolment.key"
#: No file of an identity is longer.
MAX_FILE_BYTES = 32 * 1024
_AGAIN = "enrol this box again: `village agent add` at the collector, then `village-agent enroll`"


class InvalidIdentity(Exception):
    """What is on disk can't be used; the text says why and what to do."""


class Record(BaseModel):
    """The file `identity.json`: whose identity this is, and what was found in its certificates when it was written."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    agent: AgentId
    area: Area
    broker: Annotated[str, Field(max_length=300)]
    api: Annotated[str, Field(max_length=300)]
    issued: Instant
    expires: Instant
    #: Of the authority: a point on P-256, uncompressed, base64.
    authority_key: Annotated[str, Field(max_length=100)]
    sha256: Mapping[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """A whole identity. Its paths lead through the link, so that they always mean the newest."""

    folder: Path
    record: Record
    authority: EllipticCurvePublicKey
    command_keys: CommandKeys
    #: The signed document of `command_keys`.
    document: bytes = field(repr=False)

    @property
    def agent(self) -> str:
        """This agent's id."""
        return self.record.agent

    @property
    def expires(self) -> datetime:
        """When the certificate ends."""
        return self.record.expires

    @property
    def key_file(self) -> Path:
        """The private key, PEM."""
        return self.folder / KEY

    @property
    def certificate_file(self) -> Path:
        """This agent's certificate, PEM."""
        return self.folder / CERTIFICATE

    @property
    def ca_file(self) -> Path:
        """The authority to trust, PEM."""
        return self.folder / AUTHORITY

    @property
    def address(self) -> BrokerAddress:
        """The broker and how to log in."""
        return BrokerAddress(
            self.record.broker,
            ca_file=self.ca_file,
            certificate_file=self.certificate_file,
            key_file=self.key_file,
        )


def read_identity(state_dir: Path) -> Identity | None:
    """Return the identity, or None if this box was never enrolled.

    Raises:
        InvalidIdentity: it is damaged, was changed by hand, or others can read its key.
    """
    link = state_dir / _LINK
    for last in (False, True):
        if not os.path.lexists(link):
            return None
        try:
            # Two files must not be read from two folders.
            return _read(link, link.resolve(strict=True))
        except FileNotFoundError as error:
            # A renewal may have put another folder in its place meanwhile.
            if last:
                raise InvalidIdentity(f"{error.filename} is missing; {_AGAIN}") from None
        except OSError as error:
            raise InvalidIdentity(f"{error.filename}: {error.strerror}") from None
    return None


def write_identity(state_dir: Path, record: Record, files: Mapping[str, bytes], document: bytes) -> Identity:
    """Put a new identity in place of the present one. `files` are KEY, CERTIFICATE and AUTHORITY, which the caller has checked.

    The state directory is locked by the caller.

    Raises:
        OSError: the disk refuses; the old identity is still there.
        InvalidIdentity: what was written can't be read again.
    """
    digests = {name: _digest(content) for name, content in files.items()}
    text = record.model_copy(update={"sha256": digests}).model_dump_json(indent=1).encode() + b"\n"
    target = state_dir / f"{_LINK}.{secrets.token_hex(4)}"
    target.mkdir(mode=0o700)
    for name, content in {**files, RECORD: text, COMMAND_KEYS: document}.items():
        _write(target / name, content)
    _sync(target)
    link = state_dir / f"{target.name}.link"
    link.symlink_to(target.name)
    link.rename(state_dir / _LINK)
    _sync(state_dir)
    remove_key(state_dir)
    _remove_others(state_dir, target.name)
    identity = read_identity(state_dir)
    if identity is None:
        raise InvalidIdentity(f"{state_dir / _LINK} is gone")
    return identity


def write_command_keys(state_dir: Path, document: bytes) -> None:
    """Put a verified document in place of the present one; raises `OSError`, and then the old one is still there."""
    target = (state_dir / _LINK).resolve(strict=True) / COMMAND_KEYS
    temporary = target.with_name(f".{COMMAND_KEYS}")
    temporary.unlink(missing_ok=True)
    _write(temporary, document)
    temporary.rename(target)
    _sync(target.parent)


def read_key(state_dir: Path) -> bytes | None:
    """Return the key (PEM) of a request that has had no answer yet; raises `OSError`."""
    with contextlib.suppress(FileNotFoundError):
        return _content(state_dir / _PENDING)
    return None


def write_key(state_dir: Path, key: bytes) -> None:
    """Keep the key (PEM) of a request until its answer is on disk; raises `OSError`."""
    temporary = state_dir / f".{_PENDING}"
    temporary.unlink(missing_ok=True)
    _write(temporary, key)
    temporary.rename(state_dir / _PENDING)
    _sync(state_dir)


def remove_key(state_dir: Path) -> None:
    """Forget the key of a request; raises `OSError`."""
    (state_dir / _PENDING).unlink(missing_ok=True)


def _read(link: Path, folder: Path) -> Identity:
    mode = stat.S_IMODE((folder / KEY).stat().st_mode)
    if mode & 0o077:
        raise InvalidIdentity(f"{link / KEY}: others can read this key (mode {mode:03o}); run chmod 600 on it")
    try:
        record = Record.model_validate_json(_content(folder / RECORD))
        point = base64.b64decode(record.authority_key, validate=True)
        authority = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
    except (ValidationError, ValueError):
        raise InvalidIdentity(f"{link / RECORD} is damaged; {_AGAIN}") from None
    for name in (KEY, CERTIFICATE, AUTHORITY):
        if record.sha256.get(name) != _digest(_content(folder / name)):
            raise InvalidIdentity(f"{link / name} is not the file that was written at the enrolment; {_AGAIN}")
    document = _content(folder / COMMAND_KEYS, MAX_KEYS_BYTES)
    try:
        keys = read_command_keys(document, authority)
    except InvalidKeys as error:
        raise InvalidIdentity(f"{link / COMMAND_KEYS}: {error}; {_AGAIN}") from None
    return Identity(link, record, authority, keys, document)


def _remove_others(state_dir: Path, present: str) -> None:
    for path in state_dir.glob(f"{_LINK}.*"):
        if path.is_symlink():
            path.unlink(missing_ok=True)
        elif path.name != present:
            # What a full or broken disk keeps is harmless, and tried again at the next renewal.
            with contextlib.suppress(OSError):
                for part in path.iterdir():
                    part.unlink()
                path.rmdir()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _content(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise InvalidIdentity(f"{path} is longer than {limit} bytes; {_AGAIN}")
    return content


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
