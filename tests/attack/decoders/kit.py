"""What a decoder is to the fuzzer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

#: How inputs are changed besides byte by byte: JSON node by node, records (see `records`) one by one.
Form = Literal["bytes", "json", "text", "records"]
#: Between the records of an input that stands for several messages, and between the fields of one record.
RECORD, FIELD = b"\x1e", b"\x1f"


@dataclass(frozen=True, slots=True)
class Decoder:
    """One reader of foreign bytes.

    `decode` may raise only `refusals`, keeps to `seconds` of the processor and `memory` bytes at its peak, and returns something
    whose `repr` says all that was decoded. `seeds` are valid inputs. `slow` ones take milliseconds for an input.
    """

    name: str
    decode: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: Sequence[bytes]
    form: Form = "bytes"
    max_bytes: int = 8 * 1024
    seconds: float = 2.0
    memory: int = 16 * 1024 * 1024
    slow: bool = False


def records(data: bytes, fields: int) -> list[list[bytes]]:
    """Take an input apart into records of exactly so many fields; absent ones are empty."""
    found = []
    for record in data.split(RECORD):
        parts = record.split(FIELD, fields - 1)
        found.append(parts + [b""] * (fields - len(parts)))
    return found


def join(*rows: Sequence[bytes]) -> bytes:
    """Put records together."""
    return RECORD.join(FIELD.join(row) for row in rows)
