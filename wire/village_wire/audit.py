"""The audit log: entries that chain by hash, seals over the chain, and the search for what was tampered with. Pure.

The text of an entry is canonical JSON and holds the hash of the entry before it, so that none can be changed, removed, inserted or moved
without a change of all that follow. A seal signs the hash of one entry, and so everything up to it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from village_wire.clocks import format_time

Outcome = Literal["allowed", "refused", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

#: What the first entry has for the hash of the one before.
GENESIS = "0" * 64
#: After so many entries there is a seal.
SEAL_EVERY = 500
#: Some more may stand between two seals: a program on the server that has no key writes entries, too.
MAX_UNSEALED = SEAL_EVERY + 100
#: Keeps these signatures apart from any other use of the same key.
_DOMAIN = b"village-edge audit seal 1\n"
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
#: Characters kept of each text of an act: addresses and reasons may come from strangers.
_LIMITS: Mapping[str, int] = {
    "actor": 80,
    "address": 64,
    "action": 40,
    "target": 200,
    "area": 21,
    "reason": 400,
    "command": 36,
}


class InvalidEntry(ValueError):
    """The text is not that of an entry; the text of the error says why."""


@dataclass(frozen=True, slots=True)
class Act:
    """Who did what to which target, when, from where, with what outcome. Texts may be empty; "" as `actor` is an unknown caller."""

    time: datetime
    actor: str
    address: str
    action: str
    target: str = ""
    area: str = ""
    outcome: Outcome = "allowed"
    reason: str = ""
    command: str = ""


class Head(NamedTuple):
    """The last entry of a chain."""

    number: int
    hash: str


START = Head(0, GENESIS)


class Link(NamedTuple):
    """An entry at its place: its number, its exact text and the hash of that."""

    number: int
    text: str
    hash: str

    @property
    def head(self) -> Head:
        """The chain's end with this entry."""
        return Head(self.number, self.hash)


class Entry(NamedTuple):
    """What the text of an entry says."""

    number: int
    previous: str
    act: Act


class Seal(NamedTuple):
    """A signature (base64) over the number and hash of an entry, and the time."""

    number: int
    time: datetime
    hash: str
    signature: str


def cleaned(act: Act) -> Act:
    """Return the act with texts that every database and UTF-8 can hold, cut to their limits."""
    texts = {
        name: str(getattr(act, name)).replace("\0", "\N{REPLACEMENT CHARACTER}")[:limit]
        for name, limit in _LIMITS.items()
    }
    safe: dict[str, Any] = {name: text.encode(errors="replace").decode() for name, text in texts.items()}
    return Act(time=act.time.astimezone(UTC), outcome=act.outcome, **safe)


def link(previous: Head, act: Act) -> Link:
    """Return the entry of an act (see `cleaned`) that follows on `previous`."""
    number = previous.number + 1
    text = _canonical(
        {
            "number": number,
            "previous": previous.hash,
            "time": format_time(act.time),
            "outcome": act.outcome,
            **{name: getattr(act, name) for name in _LIMITS},
        }
    )
    return Link(number, text, hash_of(text))


def hash_of(text: str) -> str:
    """Return the SHA-256 of an entry's text in hexadecimal."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def read_entry(text: str) -> Entry:
    """Take the text of an entry apart; members that are not known are left out. Raises `InvalidEntry`."""
    try:
        found = json.loads(text)
        if not isinstance(found, dict) or _canonical(found) != text:
            raise InvalidEntry("not in canonical form")
        number, previous, outcome = found["number"], found["previous"], found["outcome"]
        texts: dict[str, Any] = {name: found[name] for name in _LIMITS}
        time = datetime.fromisoformat(found["time"])
    except InvalidEntry:
        raise
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidEntry("not an entry of the audit log") from None
    if (
        type(number) is not int
        or not isinstance(previous, str)
        or outcome not in OUTCOMES
        or not all(isinstance(value, str) for value in texts.values())
        or time.tzinfo is None
    ):
        raise InvalidEntry("a member is missing or of a wrong type")
    return Entry(number, previous, Act(time=time, outcome=outcome, **texts))


def sign_seal(head: Head, time: datetime, key: Ed25519PrivateKey) -> Seal:
    """Return the seal over everything up to `head`."""
    return Seal(head.number, time, head.hash, base64.b64encode(key.sign(_signed(head, time))).decode())


def is_genuine(seal: Seal, key: Ed25519PublicKey) -> bool:
    """Tell whether the key made this seal."""
    try:
        key.verify(base64.b64decode(seal.signature, validate=True), _signed(Head(seal.number, seal.hash), seal.time))
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def _signed(head: Head, time: datetime) -> bytes:
    return _DOMAIN + _canonical({"number": head.number, "hash": head.hash, "time": format_time(time)}).encode(
        errors="surrogatepass"
    )


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
