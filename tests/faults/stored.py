"""What the stores hold at the end, read without the product's own code, and what the agents' ledgers say they gave up."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import shutil
import sqlite3
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Device of the numbered readings.
COUNTER = "counter"
_TELEMETRY = 2
#: A refusal as expired comes after the expiry.
_PATIENCE = 3.0
#: What a loudspeaker's receipt answers to a broadcast; a stage that is not here is on the way.
OUTCOMES = {
    "finished": "done",
    "failed": "failed",
    "refused": "refused",
    "skipped": "refused",
    "cancelled": "failed",
    "preempted": "failed",
}
_NUMBER = re.compile(rb"device=" + COUNTER.encode() + rb" value=([0-9]+)(?:\.0)?[ ,]")


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of the event table; `time` in seconds since 1970."""

    id: str
    agent: str
    device: str
    kind: str
    time: float
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """A command, or a broadcast, as the collector issued it."""

    id: str
    #: The microseconds of its life, see `Order.exact_life`, or the title.
    number: int
    expires: float
    broadcast: bool = False


@dataclass
class StoreCopy:
    """Everything that the comparison needs."""

    events: list[StoredEvent] = field(default_factory=list)
    commands: list[StoredCommand] = field(default_factory=list)
    #: Newest outcome by (command, agent, device), as the collector shows it; None where there is no answer yet.
    outcomes: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    #: (agent, number, seconds since 1970) of the numbered readings.
    samples: list[tuple[str, int, float]] = field(default_factory=list)
    #: Lines of telemetry in each agent's ledger.
    ledger: Counter[str] = field(default_factory=Counter)
    dead_letters: int = 0

    def open_results(self, now: float) -> int:
        """How many results may yet come: something was accepted and is not final, or may still be carried out."""
        alive = {command.id for command in self.commands if now < command.expires + _PATIENCE}
        return sum(
            outcome == "accepted" or (outcome is None and command in alive)
            for (command, _, _), outcome in self.outcomes.items()
        )


def read_control(path: Path, copy: StoreCopy) -> None:
    """Add events, commands and results of a control store."""
    with _opened(path) as file:
        for event, agent, device, kind, time, data in file.execute(
            "SELECT id, agent, device, kind, time, data FROM events"
        ):
            copy.events.append(StoredEvent(event, agent, device or "", kind, time / 1e6, json.loads(data)))
        for command, issued, expires in file.execute("SELECT id, issued, expires FROM commands"):
            copy.commands.append(StoredCommand(command, (expires - issued) % 1_000_000, expires / 1e6))
        for command, agent, device, outcome in file.execute(
            "SELECT command, agent, device, outcome FROM command_results"
        ):
            copy.outcomes[command, agent, device] = outcome
        for broadcast, arguments, end in file.execute('SELECT id, arguments, "end" FROM broadcasts'):
            number = int(json.loads(arguments).get("title") or 0)
            copy.commands.append(StoredCommand(broadcast, number, end / 1e6, broadcast=True))
        for broadcast, agent, device, stage in file.execute("SELECT broadcast, agent, device, stage FROM receipts"):
            outcome = None if stage is None else OUTCOMES.get(stage, "accepted")
            copy.outcomes[broadcast, agent, device] = outcome
        copy.dead_letters = file.execute("SELECT count(*) FROM dead_letters").fetchone()[0]


def read_sqlite_samples(path: Path, copy: StoreCopy) -> None:
    """Add the numbered readings of the embedded telemetry store."""
    with _opened(path) as file:
        rows = file.execute(
            "SELECT agent, value, time FROM samples JOIN series ON series = id WHERE device = ?", (COUNTER,)
        )
        copy.samples += [(agent, int(value), time / 1e9) for agent, value, time in rows]


def read_influx_samples(url: str, organisation: str, bucket: str, token: str, copy: StoreCopy) -> None:
    """Add the numbered readings of an InfluxDB 2."""
    query = (
        f'from(bucket: "{bucket}") |> range(start: 2000-01-01T00:00:00Z, stop: 2100-01-01T00:00:00Z)'
        f' |> filter(fn: (r) => r.device == "{COUNTER}" and r._field == "value")'
        " |> map(fn: (r) => ({agent: r.agent, _value: r._value, ns: int(v: r._time)})) |> group()"
    )
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{url}/api/v2/query?org={organisation}",
        query.encode(),
        {"Authorization": f"Token {token}", "Content-Type": "application/vnd.flux", "Accept": "application/csv"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
        text = answer.read().decode()
    for row in csv.DictReader(io.StringIO(text.replace("\r\n", "\n").strip())):
        copy.samples.append((row["agent"], int(float(row["_value"])), int(row["ns"]) / 1e9))


@dataclass(frozen=True, slots=True)
class OutboxCopy:
    """An agent's outbox at one moment: ids of events, numbers of the counter, lines of telemetry in the ledger."""

    events: frozenset[str]
    numbers: frozenset[int]
    lost: int


def read_outbox(state_dir: Path) -> OutboxCopy:
    """Look into the files of an agent without disturbing them, whether it runs or not."""
    try:
        with _opened(state_dir / "outbox.db") as file:
            keys = file.execute("SELECT key FROM event UNION SELECT key FROM receipt").fetchall()
            lines = file.execute("SELECT content FROM telemetry").fetchall()
            lost = file.execute("SELECT coalesce(sum(count), 0) FROM loss WHERE class = ?", (_TELEMETRY,)).fetchone()[0]
    except (sqlite3.Error, OSError):
        # It is just being made.
        return OutboxCopy(frozenset(), frozenset(), 0)
    with contextlib.suppress(sqlite3.Error, OSError), _opened(state_dir / "undated.db") as file:
        # The events in it get their ids with their dates.
        lines += file.execute("SELECT content FROM undated WHERE class = ?", (_TELEMETRY,)).fetchall()
    numbers = frozenset(int(number) for (content,) in lines for number in _NUMBER.findall(content))
    return OutboxCopy(frozenset(key for (key,) in keys if key), numbers, lost)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    # A copy: whoever opens a database that a killed program has left may have to write to it.
    with tempfile.TemporaryDirectory(prefix="village-look-") as folder:
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                shutil.copyfile(source, Path(folder) / source.name)
        with closing(sqlite3.connect(Path(folder) / path.name)) as file:
            yield file
