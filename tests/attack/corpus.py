"""Inputs that are kept: each taught the fuzzer something, or once broke a decoder. One file each, in a folder of the decoder's name."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

from tests.attack.decoders.kit import Decoder

FOLDER = Path(__file__).parent / "corpus"
#: Of all files together: the corpus travels with the sources.
MAX_BYTES = 300_000
#: Longer inputs are kept deflated.
_PLAIN_BYTES = 512


def load(decoder: Decoder) -> list[bytes]:
    """Return what is kept for a decoder, in a fixed order."""
    return [_read(file) for file in sorted((FOLDER / decoder.name).glob("*")) if file.is_file()]


def add(decoder: Decoder, data: bytes, mark: str = "") -> Path:
    """Keep an input; `mark` begins the names of those that broke something."""
    folder = FOLDER / decoder.name
    folder.mkdir(parents=True, exist_ok=True)
    name = mark + hashlib.sha256(data).hexdigest()[:12]
    file = folder / name
    if len(data) > _PLAIN_BYTES:
        file, data = folder / f"{name}.z", zlib.compress(data, 9)
    file.write_bytes(data)
    return file


def size() -> int:
    """Return the bytes of the whole corpus."""
    return sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file())


def _read(file: Path) -> bytes:
    data = file.read_bytes()
    return zlib.decompress(data) if file.suffix == ".z" else data
