"""Private keys in files: made once, whoever comes first, and refused when others may read them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from village_collector.data_dir import DataDirProblem, write_atomically

PRIVATE, PUBLIC = 0o600, 0o644


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
