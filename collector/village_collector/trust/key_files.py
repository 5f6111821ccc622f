"""Private keys in files: made once, whoever comes first, and refused when others may read them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from village_collector.data_dir import DataDirProblem, write_atomically

PRIVATE, PUBLIC = 0o600, 0o644
_AUDIT_KEY = "audit_key"


def key_pem(key: EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    """Return a private key as unencrypted PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_once(path: Path, content: Callable[[], bytes], mode: int) -> None:
    """Write a file unless it is there. Two that do so at once agree on one content: read it back. Raises `OSError`."""
    if not path.exists():
        with contextlib.suppress(FileExistsError):
            write_atomically(path, content(), mode, replace=False)


def read_private(path: Path, danger: str) -> bytes:
    """Return a file that only its owner may read; `danger` says what others could do with it.

    Raises:
        DataDirProblem: others may read it.
        OSError: it can't be read.
    """
    if path.stat().st_mode & 0o077:
        raise DataDirProblem(f"others may read {path}, {danger}")
    return path.read_bytes()


def read_signing_key(path: Path, danger: str) -> Ed25519PrivateKey:
    """Return an Ed25519 key as `read_private` does; raises `DataDirProblem` also for a file that holds none."""
    try:
        key = load_pem_private_key(read_private(path, danger), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise DataDirProblem(f"{path} is not an Ed25519 private key in PEM; restore it from a backup") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise DataDirProblem(f"{path} is not an Ed25519 key")
    return key


def load_signing_key(name: str, folder: Path, shared: Path | None, danger: str) -> Ed25519PrivateKey:
    """Return the Ed25519 key in a file; at the first call it is made.

    `shared` is the folder of the keys that several collectors have; none is ever made there, since they must all have the same.

    Raises:
        DataDirProblem: the file can't be read or written, is no such key, or others may read it.
    """
    path = (shared or folder) / name
    try:
        if shared is not None and not path.exists():
            raise DataDirProblem(f"there is no {path}; copy {name} from the first collector there")
        make_once(path, lambda: key_pem(Ed25519PrivateKey.generate()), PRIVATE)
        return read_signing_key(path, danger)
    except OSError as error:
        raise DataDirProblem(f"{error.filename or path}: {error.strerror}") from None


def load_audit_key(folder: Path, shared: Path | None = None) -> Ed25519PrivateKey:
    """Return the key that seals the audit log; as `load_signing_key`."""
    return load_signing_key(_AUDIT_KEY, folder, shared, "which seals the audit log: chmod 600 it")
