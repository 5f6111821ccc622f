"""Every manipulation of a log that its maker can't sign is found, and an untouched log gives no finding."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from village_wire.audit import (
    MAX_UNSEALED,
    OUTCOMES,
    SEAL_EVERY,
    START,
    Act,
    Head,
    Seal,
    hash_of,
    link,
    read_entry,
    sign_seal,
)
from village_wire.audit_verification import Finding, StoredEntry, Verifier

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
T0 = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
FIELDS = ("time", "actor", "address", "action", "target", "area", "outcome", "reason", "command", "number", "previous")


@dataclass(frozen=True)
class Log:
    entries: tuple[StoredEntry, ...]
    seals: tuple[Seal, ...]

    def findings(self, kept: dict[int, str] | None = None, key: Ed25519PrivateKey = KEY) -> list[Finding]:
        return list(Verifier(key.public_key(), kept).findings(self.entries, self.seals))

    def kinds(self, kept: dict[int, str] | None = None) -> set[str]:
        return {finding.kind for finding in self.findings(kept)}

    @property
    def last(self) -> dict[int, str]:
        """What the collector's own log keeps of the last seal."""
        return {self.seals[-1].number: self.seals[-1].hash}


def written(count: int, sealed: Sequence[int]) -> Log:
    """A log with seals over these entries."""
    head, entries, seals = START, [], []
    for number in range(1, count + 1):
        time = T0 + timedelta(seconds=number)
        act = Act(time, f"p{number}", "10.0.0.7", "door.unlock", f"gate/{number}", "441900003001", "allowed", "", "c")
        new = link(head, act)
        head = new.head
        entries.append(StoredEntry(*new))
        if number in sealed:
            seals.append(sign_seal(head, time, KEY))
    return Log(tuple(entries), tuple(seals))


@st.composite
def logs(draw: st.DrawFn, least: int = 3) -> tuple[Log, int]:
    """A log with at least one seal, and the number of an entry that is sealed."""
    count = draw(st.integers(least, 14))
    sealed = draw(st.sets(st.integers(least, count), min_size=1))
    return written(count, sorted(sealed)), draw(st.integers(1, max(sealed)))


def rewritten(log: Log, change: Callable[[int, dict[str, Any]], dict[str, Any] | None], start: int = 1) -> Log:
    """What an attacker without the key makes: the entries from `start` on changed, all hashes right again, the seals as they were."""
    head = START if start == 1 else Head(log.entries[start - 2].number, hash_of(log.entries[start - 2].text))
    entries = list(log.entries[: start - 1])
    for row in log.entries[start - 1 :]:
        content = change(row.number, json.loads(row.text))
        if content is None:
            continue
        content |= {"number": head.number + 1, "previous": head.hash}
        text = dumped(content)
        head = Head(head.number + 1, hash_of(text))
        entries.append(StoredEntry(head.number, text, head.hash))
    return replace(log, entries=tuple(entries))


def dumped(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def changed(content: dict[str, Any], field: str) -> dict[str, Any]:
    """Another, well-formed value in one member."""
    value = content[field]
    if field == "number":
        other: Any = value + 1
    elif field == "outcome":
        other = next(outcome for outcome in OUTCOMES if outcome != value)
    elif field == "time":
        other = value.replace("2026", "2025")
    elif field == "previous":
        other = "f" * 64
    else:
        other = value + "x"
    return {**content, field: other}


@given(logs())
def test_an_untouched_log_is_whole(made: tuple[Log, int]) -> None:
    log, _ = made
    verifier = Verifier(KEY.public_key(), {seal.number: seal.hash for seal in log.seals})
    assert list(verifier.findings(iter(log.entries), iter(log.seals))) == []
    assert (verifier.entries, verifier.last, verifier.hash) == (
        len(log.entries),
        len(log.entries),
        log.entries[-1].hash,
    )
    assert verifier.sealed == log.seals[-1]


def test_an_empty_log_is_whole() -> None:
    assert Log((), ()).findings() == []


@given(logs(), st.sampled_from(FIELDS), st.booleans())
def test_a_changed_field(made: tuple[Log, int], field: str, with_hash: bool) -> None:
    log, number = made
    rows = list(log.entries)
    text = dumped(changed(json.loads(rows[number - 1].text), field))
    rows[number - 1] = StoredEntry(number, text, hash_of(text) if with_hash else rows[number - 1].hash)
    touched = replace(log, entries=tuple(rows))
    assert read_entry(text)
    found = touched.findings()
    assert found
    if not with_hash:
        assert Finding("changed", number) in found


@given(logs())
def test_a_changed_hash_column(made: tuple[Log, int]) -> None:
    log, number = made
    rows = list(log.entries)
    rows[number - 1] = rows[number - 1]._replace(hash="e" * 64)
    assert replace(log, entries=tuple(rows)).findings() == [Finding("changed", number)]


@given(logs(), st.text(max_size=20))
def test_another_text(made: tuple[Log, int], text: str) -> None:
    log, number = made
    rows = list(log.entries)
    rows[number - 1] = StoredEntry(number, text, hash_of(text))
    assert Finding("unreadable", number) in replace(log, entries=tuple(rows)).findings()


@given(logs())
def test_a_removed_entry(made: tuple[Log, int]) -> None:
    log, number = made
    rows = log.entries[: number - 1] + log.entries[number:]
    found = replace(log, entries=rows).findings(log.last)
    assert found
    if number < len(log.entries):
        assert Finding("missing", number, number) in found
    # Also when the others move up.
    closed = [StoredEntry(place, row.text, row.hash) for place, row in enumerate(rows, 1)]
    assert replace(log, entries=tuple(closed)).findings(log.last)


@given(logs(), st.booleans())
def test_an_inserted_entry(made: tuple[Log, int], good_link: bool) -> None:
    log, number = made
    before = START if number == 1 else Head(number - 1, log.entries[number - 2].hash)
    new = link(before if good_link else Head(number - 1, "d" * 64), Act(T0, "mallory", "", "door.unlock"))
    rows = [*log.entries[: number - 1], StoredEntry(*new), *log.entries[number - 1 :]]
    moved = [StoredEntry(place, row.text, row.hash) for place, row in enumerate(rows, 1)]
    assert replace(log, entries=tuple(moved)).findings()
    # Also with the number of another one.
    assert replace(log, entries=tuple(rows)).findings()


@given(logs(), st.data())
def test_two_entries_swapped(made: tuple[Log, int], data: st.DataObject) -> None:
    log, number = made
    other = data.draw(st.integers(1, len(log.entries)).filter(lambda one: one != number))
    rows = list(log.entries)
    rows[number - 1], rows[other - 1] = rows[other - 1], rows[number - 1]
    assert replace(log, entries=tuple(rows)).kinds() & {"moved", "missing"}
    named = [StoredEntry(place, row.text, row.hash) for place, row in enumerate(rows, 1)]
    assert "moved" in replace(log, entries=tuple(named)).kinds()


@given(logs())
def test_a_cut_end(made: tuple[Log, int]) -> None:
    log, number = made
    short = replace(log, entries=log.entries[: number - 1])
    assert "cut" in short.kinds()
    # Whoever takes the seals away too is found by the last seal that stands elsewhere.
    shorter = replace(short, seals=tuple(seal for seal in log.seals if seal.number < number))
    assert shorter.findings() == []
    assert shorter.kinds(log.last) == {"unknown_seal"}


@given(logs(), st.sampled_from(FIELDS[:-2]))
def test_all_hashes_made_anew_after_a_change(made: tuple[Log, int], field: str) -> None:
    log, number = made
    forged = rewritten(log, lambda n, content: changed(content, field) if n == number else content, number)
    assert forged.kinds() == {"contradicted"}
    # Without the seals that tell, the last one that stands elsewhere does.
    without = replace(forged, seals=tuple(seal for seal in log.seals if seal.number < number))
    assert without.findings() == []
    assert without.kinds(log.last) == {"unknown_seal"}
    # Seals of another key prove nothing.
    mallory = Ed25519PrivateKey.generate()
    resealed = tuple(sign_seal(Head(s.number, forged.entries[s.number - 1].hash), s.time, mallory) for s in log.seals)
    assert replace(forged, seals=resealed).kinds() == {"forged"}


@given(logs())
def test_all_hashes_made_anew_after_a_removal(made: tuple[Log, int]) -> None:
    log, number = made
    forged = rewritten(log, lambda n, content: None if n == number else content, number)
    assert forged.kinds() & {"contradicted", "cut"}


@given(logs(), st.data())
def test_a_changed_seal(made: tuple[Log, int], data: st.DataObject) -> None:
    log, _ = made
    place = data.draw(st.integers(0, len(log.seals) - 1))
    change: dict[str, Any] = data.draw(
        st.sampled_from(
            [{"hash": "c" * 64}, {"time": T0 - timedelta(days=1)}, {"signature": "AAAA"}, {"number": 10**6}]
        )
    )
    seals = list(log.seals)
    seals[place] = seals[place]._replace(**change)
    assert replace(log, seals=tuple(sorted(seals, key=lambda seal: seal.number))).kinds() == {"forged"}


@given(logs())
def test_another_key(made: tuple[Log, int]) -> None:
    log, _ = made
    found = log.findings(key=Ed25519PrivateKey.generate())
    assert found == [Finding("forged", seal.number) for seal in log.seals]


@given(logs())
def test_columns_that_hide_an_entry_from_lists(made: tuple[Log, int]) -> None:
    log, number = made
    rows = list(log.entries)
    rows[number - 1] = rows[number - 1]._replace(misfiled=True)
    assert replace(log, entries=tuple(rows)).findings() == [Finding("misfiled", number)]


def test_seals_taken_out_of_the_middle() -> None:
    numbers = [SEAL_EVERY, 2 * SEAL_EVERY, 3 * SEAL_EVERY]
    log = written(3 * SEAL_EVERY + 7, numbers)
    assert log.findings() == []
    fewer = replace(log, seals=(log.seals[0], log.seals[2]))
    assert fewer.findings() == [Finding("unsealed", SEAL_EVERY + 1, SEAL_EVERY + MAX_UNSEALED + 1)]
    assert replace(log, seals=()).kinds() == {"unsealed"}


def test_streams_are_read_step_by_step() -> None:
    log = written(20, [10, 20])
    taken: list[int] = []

    def entries() -> Iterator[StoredEntry]:
        for row in log.entries:
            taken.append(row.number)
            yield row._replace(hash="") if row.number == 5 else row

    findings = Verifier(KEY.public_key()).findings(entries(), log.seals)
    assert next(findings) == Finding("changed", 5)
    assert taken[-1] == 5
