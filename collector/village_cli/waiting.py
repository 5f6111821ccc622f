"""Sending a command and waiting for what becomes of it on each device: the proof, or the reason why there is none."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from village_cli.documents import label, part, plain, rows, text
from village_cli.reasons import told
from village_cli.target import Target
from village_cli.text import word
from village_cli.times import parse_span
from village_wire.language import Language

if TYPE_CHECKING:
    from village_cli.client import Answer, Client

SCHEMA = "village.command/1"
FINAL_OUTCOMES = frozenset({"refused", "done", "failed"})
#: How long the collector holds one request back while nothing changes.
HOLD_SECONDS = 10
#: A collector that answers at once although nothing changed is not asked more often than this.
LEAST_PAUSE_SECONDS = 0.5
#: How long a collector may be away before waiting for results ends, and how often it is asked in between.
MAX_AWAY_SECONDS = 30.0
AWAY_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """What is known of one device: `outcome` is `waiting`, `accepted`, one of `FINAL_OUTCOMES`, or `missing` after the expiry."""

    device: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of a command on every device that was expected to obey."""

    final: bool
    results: tuple[DeviceResult, ...]

    @property
    def done(self) -> int:
        """Number of devices that did it."""
        return sum(result.outcome == "done" for result in self.results)

    @property
    def exit_code(self) -> int:
        """0 all did it, 1 some, 2 none, 3 not known yet."""
        if not self.final:
            return 3
        if self.done == 0:
            return 2
        return 0 if self.done == len(self.results) else 1

    def sentence(self, done_key: str, language: Language) -> str:
        """Return `3 of 4 … sounded; missing: gate-2/speaker (reason)`; `done_key` is a key of `text.WORDS`."""
        parts = [word(done_key, language).format(done=self.done, total=len(self.results))]
        lacking = [result for result in self.results if result.outcome in {"refused", "failed", "missing"}]
        still = [result for result in self.results if result.outcome in {"waiting", "accepted"}]
        comma = word("comma", language)
        if lacking:
            names = (
                f"{item.device} ({told(item.reason, language) or word(item.outcome, language)})" for item in lacking
            )
            parts.append(word("lacking", language).format(list=comma.join(names)))
        if still:
            parts.append(word("open", language).format(list=comma.join(item.device for item in still)))
        return word("semicolon", language).join(parts)


def coverage(document: Mapping[str, Any]) -> Coverage:
    """Return what a `village.command/1` says of every expected device."""
    state = text(document, "state")
    known = {label(row): row for row in rows(document, "results")}
    results = []
    for device in dict.fromkeys([*(label(row) for row in rows(document, "expected")), *known]):
        row = known.get(device, {})
        outcome = text(row, "outcome") or "waiting"
        if outcome not in FINAL_OUTCOMES and state in {"done", "expired"}:
            outcome = "missing"
        results.append(DeviceResult(device, outcome, text(row, "reason") or plain(part(row, "result").get("evidence"))))
    return Coverage(state in {"done", "expired"}, tuple(results))


def send(client: Client, target: Target, arguments: Mapping[str, Any], expires: str) -> Answer:
    """Send a command and return its document; `expires` is a span such as `60s`. Raises `InvalidTime` and what `Client` raises."""
    document = {
        "target": target.document(),
        "arguments": dict(arguments),
        "expires_in": int(parse_span(expires).total_seconds()),
    }
    return client.post("/commands", SCHEMA, document)


def watch(client: Client, first: Answer, changed: Callable[[DeviceResult], None]) -> Answer:
    """Wait until every device's result is final or the command has expired; return the last answer.

    `changed` is called once for each new outcome of a device, in the order in which they are learnt.
    """
    last: dict[str, str] = {}
    answer = first
    while True:
        now = coverage(answer.document)
        for result in now.results:
            if result.outcome != "waiting" and last.get(result.device) != result.outcome:
                last[result.device] = result.outcome
                changed(result)
        if now.final:
            return answer
        asked = time.monotonic()
        seen = len(rows(answer.document, "results"))
        before = answer.document
        answer = _ask(client, before, seen)
        if answer.document == before:
            time.sleep(max(0.0, LEAST_PAUSE_SECONDS - (time.monotonic() - asked)))


def _ask(client: Client, before: Mapping[str, Any], seen: int) -> Answer:
    # The command goes on without us: a collector that is away for a moment, or has too many who wait, is asked again.
    from village_cli.client import Problem, Unreachable

    deadline = time.monotonic() + MAX_AWAY_SECONDS
    while True:
        try:
            return client.get(f"/commands/{command_id(before)}", SCHEMA, wait=HOLD_SECONDS, seen=seen)
        except (Problem, Unreachable) as failure:
            if failure.status not in {None, 503} or time.monotonic() > deadline:
                raise
            time.sleep(AWAY_PAUSE_SECONDS)


def command_id(document: Mapping[str, Any]) -> str:
    """Return a command's id, safe to stand in an address."""
    return re.sub(r"[^0-9A-Za-z-]", "", text(document, "id"))
