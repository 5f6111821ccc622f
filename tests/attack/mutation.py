"""Makes hostile inputs out of valid ones: bytes flipped, cut, doubled and mixed; JSON and records changed part by part."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.attack.decoders.kit import FIELD, RECORD, Form

#: JSON texts that readers trip over. Written as they stand, since Python would not write some of them.
RAW = (
    "null", "true", "false", "0", "-0", "-1", "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1e-400", "0.1e1",
    str(2**31), str(2**63), str(-(2**63) - 1), str(2**64), "9" * 400, "9" * 5000, "1" + "0" * 308, '""', '"\\u0000"', '"\\ud800"',
    '"\\udc00\\ud800"', '"\\u202e"', '"\\u001b[31m"', '"\\r\\n"', '"' + "x" * 3000 + '"', '"' + "\U0001f600" * 90 + '"', "[]", "{}", "[[]]",
    '{"":null}', '{"kind":"stop"}', '"2026-11-24T08:00:00Z"', '"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"',
    '"2026-02-30T00:00:00Z"', '"../../etc/passwd"', '"%2e%2e%2f"', '"+"', '"#"', '"$share/x/#"', "[1,2,3]", '"a/b/c"', "1.5", "-273.16",
)  # fmt: skip
_DEPTHS = (5, 64, 127, 200, 255, 495, 900, 990, 1500, 4000)
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0xFFFFFF)
_TOKENS = (
    b"\x00", b"\xff", b"\x7f", b"\xc0\x80", b"\xed\xa0\x80", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\n", b"\t", b" ", b",", b"=", b'"',
    b"'", b"\\", b"/", b"..", b"+", b"#", b"$", b"%00", b"\x1b[2J", b"\xe2\x80\xae", b"[", b"]", b"{", b"}", b"-1", b"NaN", b"1e999", b"9" * 40,
    b"0x", b"{{", b"}}", b"{%", b"|", b"(", b")", RECORD, FIELD,
)  # fmt: skip
#: Longest input, whatever the decoder takes.
_MOST = 256 * 1024


def mutate(random: Random, seeds: Sequence[bytes], form: Form, max_bytes: int) -> bytes:
    """Return an input of at most `max_bytes` that comes from one or two of the seeds."""
    data = random.choice(seeds)
    for _ in range(1 + min(int(random.expovariate(0.7)), 6)):
        if form == "json" and random.random() < 0.7:
            data = _change_json(random, data, seeds)
        elif form == "records" and random.random() < 0.6:
            data = _change_records(random, data, seeds)
        else:
            data = _change_bytes(random, data, seeds)
        data = data[:_MOST]
    return data[:max_bytes]


def _change_bytes(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    at = random.randrange(len(data) + 1)
    end = min(len(data), at + 1 + min(int(random.expovariate(0.2)), 64))
    match random.randrange(10):
        case 0 if at < len(data):
            return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
        case 1 if at < len(data):
            return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        case 2:
            return data[:at] + random.choice(_TOKENS) + data[at:]
        case 3:
            return data[:at] + random.choice(_TOKENS) + data[end:]
        case 4:
            return data[:at] + data[end:]
        case 5:
            return data[:at] + data[at:end] * random.choice((2, 3, 20, 300)) + data[end:]
        case 6:
            other = random.choice(seeds)
            return data[:at] + other[random.randrange(len(other) + 1) :]
        case 7:
            size = random.choice((1, 2, 4))
            number = (random.choice(_NUMBERS) & (1 << 8 * size) - 1).to_bytes(size, random.choice(("big", "little")))
            return data[:at] + number + data[at + size :]
        case 8:
            return data[:at]
        case _:
            return data[:at] + random.randbytes(1 + random.randrange(8)) + data[at:]


def _change_records(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    rows = [row.split(FIELD) for row in data.split(RECORD)]
    others = [row.split(FIELD) for row in random.choice(seeds).split(RECORD)]
    at = random.randrange(len(rows))
    match random.randrange(6):
        case 0:
            rows.insert(at, random.choice(others))
        case 1 if len(rows) > 1:
            del rows[at]
        case 2:
            rows[at:at] = [rows[at]] * random.choice((1, 3, 30))
        case 3:
            random.shuffle(rows)
        case 4:
            place, row = random.randrange(len(rows[at])), random.choice(others)
            rows[at] = [*rows[at][:place], random.choice(row), *rows[at][place + 1 :]]
        case _:
            place = random.randrange(len(rows[at]))
            field = rows[at][place]
            changed = (
                _change_json(random, field, [field])
                if field[:1] in {b"{", b"["}
                else _change_bytes(random, field, [field])
            )
            rows[at] = [*rows[at][:place], changed, *rows[at][place + 1 :]]
    return RECORD.join(FIELD.join(row) for row in rows)


def _change_json(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    document, other = _read(data), _read(random.choice(seeds))
    if document is None:
        return _change_bytes(random, data, seeds)
    places = list(_places(document))
    if not places:
        return random.choice(RAW).encode()
    holder, key = random.choice(places)
    raw = ""
    match random.randrange(9):
        case 0 | 1 | 2:
            raw = random.choice(RAW)
        case 3:
            opening, closing = random.choice((("[", "]"), ('{"a":', "}")))
            depth = random.choice(_DEPTHS)
            raw = opening * depth + "1" + closing * depth
        case 4:
            del holder[key]
        case 5:
            holder[key] = [holder[key]] * random.choice((0, 1, 2, 200))
        case 6 if other is not None and (found := list(_places(other))):
            there, name = random.choice(found)
            holder[key] = there[name]
        case 7 if isinstance(holder, dict):
            holder[random.choice(("", "kind", "signature", "constructor", "\x00", "x" * 300, "id"))] = holder[key]
        case _:
            holder[key] = holder[key] + holder[key] if isinstance(holder[key], str) else str(holder[key])
    if raw:
        holder[key] = _MARK
    try:
        text = json.dumps(
            document, ensure_ascii=random.random() < 0.5, separators=random.choice(((",", ":"), (", ", ": ")))
        )
    except (RecursionError, ValueError):
        # Two deep documents made a deeper one.
        return _change_bytes(random, data, seeds)
    return text.replace(f'"{_MARK}"', raw).encode(errors="replace")


_MARK = "@raw@"


def _read(data: bytes) -> Any:
    try:
        document = json.loads(data)
        json.dumps(document)
    except (ValueError, RecursionError):
        return None
    return document


def _places(document: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting and len(found) < 5000:
        one = waiting.pop()
        keys: list[Any] = list(one) if isinstance(one, dict) else list(range(len(one))) if isinstance(one, list) else []
        found += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]
    return found
