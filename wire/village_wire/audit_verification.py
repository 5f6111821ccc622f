"""Whether an audit log is what was written: the search for entries that were changed, removed, inserted or moved. Pure.

It takes entries and seals as streams in the order of their numbers and keeps only the last of each, so that a log of any length can be
verified. It trusts nothing but the key: without it nobody can make a seal that fits a changed chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from village_wire.audit import GENESIS, MAX_UNSEALED, Entry, InvalidEntry, Seal, hash_of, is_genuine, read_entry

Kind = Literal[
    "unreadable",
    "changed",
    "broken",
    "missing",
    "moved",
    "misfiled",
    "forged",
    "contradicted",
    "cut",
    "unsealed",
    "unknown_seal",
]


class StoredEntry(NamedTuple):
    """A row of the log: the number under which it is kept, its text, and the hash that stands beside it.

    `misfiled`: what the log is searched by differs from the text.
    """

    number: int
    text: str
    hash: str
    misfiled: bool = False


class Finding(NamedTuple):
    """Something that nobody writes who only records. `number` is the entry's or seal's; `other` a second number where there is one.

    - `unreadable`: the text is no entry.
    - `changed`: the text does not fit the hash beside it.
    - `broken`: the entry does not follow on the one before it: one of both was changed, or this one was inserted.
    - `missing`: the entries from `number` to `other` are gone.
    - `moved`: the entry calls itself `other`.
    - `misfiled`: the log is searched by something else than what the entry says, so lists may hide it.
    - `forged`: the seal is not made with the key.
    - `contradicted`: the seal is genuine, but over another entry: the entry, or one before it, was changed after it was sealed.
    - `cut`: the seal is genuine, but the log ends before it, with `other`.
    - `unsealed`: `number` to `other` should have been sealed: seals were removed.
    - `unknown_seal`: a seal that was kept elsewhere is gone from the log or different there.
    """

    kind: Kind
    number: int
    other: int = 0


class Verifier:
    """Verifies one log. The members tell how far it is: entries looked at, the last number and its hash, the last genuine seal that fits."""

    def __init__(self, key: Ed25519PublicKey, kept: Mapping[int, str] | None = None) -> None:
        """`kept` are hashes by number of seals that were kept elsewhere, as from the collector's log."""
        self._key = key
        self._kept = dict(kept or {})
        self.entries = 0
        self.seals = 0
        self.last = 0
        self.hash = GENESIS
        self.sealed: Seal | None = None
        self.last_entry: Entry | None = None

    def findings(self, entries: Iterable[StoredEntry], seals: Iterable[Seal]) -> Iterator[Finding]:
        """Yield what is amiss, in the order of the log. Both streams ascend by number; call it once."""
        coming = iter(seals)
        seal = next(coming, None)
        covered = 0
        for row in entries:
            while seal is not None and seal.number < row.number:
                # There is no such entry: it was removed, which is told below, or never was.
                yield from self._judge(seal, None)
                seal = next(coming, None)
            yield from self._follow(row)
            while seal is not None and seal.number == row.number:
                yield from self._judge(seal, self.hash)
                covered = max(covered, seal.number)
                seal = next(coming, None)
            if row.number - covered > MAX_UNSEALED:
                yield Finding("unsealed", covered + 1, row.number)
                covered = row.number
            if row.number in self._kept and self._kept.pop(row.number) != self.hash:
                yield Finding("unknown_seal", row.number)
        while seal is not None:
            found = list(self._judge(seal, None))
            yield from found or [Finding("cut", seal.number, self.last)]
            seal = next(coming, None)
        yield from (Finding("unknown_seal", number, self.last) for number in sorted(self._kept))

    def _follow(self, row: StoredEntry) -> Iterator[Finding]:
        self.entries += 1
        if row.number > self.last + 1:
            yield Finding("missing", self.last + 1, row.number - 1)
        elif row.number <= self.last:
            yield Finding("moved", row.number, self.last)
        actual = hash_of(row.text)
        try:
            entry = read_entry(row.text)
        except InvalidEntry:
            yield Finding("unreadable", row.number)
        else:
            if entry.number != row.number:
                yield Finding("moved", row.number, entry.number)
            if actual != row.hash:
                yield Finding("changed", row.number)
            if row.misfiled:
                yield Finding("misfiled", row.number)
            if entry.previous != self.hash and row.number == self.last + 1:
                yield Finding("broken", row.number)
            self.last_entry = entry
        self.last, self.hash = row.number, actual

    def _judge(self, seal: Seal, actual: str | None) -> Iterator[Finding]:
        self.seals += 1
        if not is_genuine(seal, self._key):
            yield Finding("forged", seal.number)
        elif actual is not None and seal.hash != actual:
            yield Finding("contradicted", seal.number)
        elif actual is not None:
            self.sealed = seal
