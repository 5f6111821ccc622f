"""Compares what was produced with what is stored, event by event, reading by reading and command by command. Pure.

The guarantees that are judged:

- A card on which a reader acted has one record. A card on which it did not act has one or none: an agent that is killed between
  record and lock leaves the record.
- An event that was on an agent's disk is stored once.
- A reading is stored once, or is in the agent's ledger; those of the last `UNWRITTEN_SECONDS` before a kill may be missing.
- A command is executed at most once per device and not after its expiry. What an agent accepted gets one final result; `done` was
  executed, `refused` was not, `failed` (with it `unknown outcome`) may have been.
- Stored times are the true ones.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.faults.produced import Card, Order, Produced
from tests.faults.stored import OUTCOMES, StoreCopy, StoredEvent

Kind = Literal["lost", "doubled", "late", "misdated", "unanswered", "wrong"]
KINDS: tuple[Kind, ...] = ("lost", "doubled", "late", "misdated", "unanswered", "wrong")

#: A reading waits a second for others before it is written, and an answer of the board may be under way.
UNWRITTEN_SECONDS = 2.0
#: A board may answer what a dead agent has asked.
_AFTERGLOW = 1.0
#: The agent looks at the expiry before it asks the device, which may take 2 s to act; and we hear of it a moment later.
LATE_SECONDS = 2.5
#: How far a stored time may be from the true one.
DATE_SECONDS = 2.0
_FINAL = {"done", "failed", "refused"}


@dataclass
class Verdict:
    """Counts, and what is not as it should be, in words."""

    counts: dict[str, int] = field(default_factory=dict)
    findings: list[tuple[Kind, str]] = field(default_factory=list)

    def add(self, kind: Kind, text: str) -> None:
        """Note a breach."""
        self.findings.append((kind, text))

    @property
    def totals(self) -> dict[Kind, int]:
        """Number of breaches of each kind."""
        found = Counter(kind for kind, _ in self.findings)
        return {kind: found[kind] for kind in KINDS}


def judge(produced: Produced, stored: StoreCopy) -> Verdict:
    """Return what was found."""
    verdict = Verdict()
    _judge_ids(produced, stored, verdict)
    _judge_cards(produced, stored, verdict)
    _judge_readings(produced, stored, verdict)
    _judge_commands(produced, stored, verdict)
    return verdict


def _judge_ids(produced: Produced, stored: StoreCopy, verdict: Verdict) -> None:
    times = Counter(event.id for event in stored.events)
    for event, count in times.items():
        if count > 1:
            verdict.add("doubled", f"event {event} is stored {count} times")
    durable = {(agent, event) for agent, events in produced.durable_events.items() for event in events}
    for agent, event in sorted(durable):
        if not times[event]:
            verdict.add("lost", f"event {event} was on the disk of {agent} when it was killed")
    verdict.counts |= {"events stored": len(stored.events), "events on disk at a kill": len(durable)}


def _judge_cards(produced: Produced, stored: StoreCopy, verdict: Verdict) -> None:
    found: defaultdict[tuple[str, str, str], list[StoredEvent]] = defaultdict(list)
    for event in stored.events:
        if event.kind == "door_access":
            found[event.agent, event.device, event.data["credential"]].append(event)
    acted = recorded = 0
    for card in produced.cards:
        records = found.pop((card.agent, card.reader, card.credential), [])
        acted += card.acted is not None
        recorded += bool(records)
        if card.acted is not None and not records:
            verdict.add("lost", f"card {_name(card)}: the reader acted, and there is no record")
        if len({record.id for record in records}) > 1:
            verdict.add("doubled", f"card {_name(card)} has {len(records)} records")
        for record in records:
            _judge_record(card, record, verdict)
        if card.lock is not None and not card.known:
            verdict.add("wrong", f"card {_name(card)} is unknown, and the lock was released")
    for place in found:
        verdict.add("wrong", f"there is a record of a card that nobody held there: {place}")
    verdict.counts |= {"cards presented": len(produced.cards), "cards acted on": acted, "cards stored": recorded}


def _judge_record(card: Card, record: StoredEvent, verdict: Verdict) -> None:
    if (record.data["outcome"] == "granted") != card.known:
        verdict.add("wrong", f"card {_name(card)}: the record says {record.data['outcome']}")
    latest = card.acted if card.acted is not None else float("inf")
    if not card.presented - DATE_SECONDS <= record.time <= latest + DATE_SECONDS:
        verdict.add(
            "misdated", f"card {_name(card)} is dated {record.time - card.presented:+.1f} s from its presentation"
        )


def _judge_readings(produced: Produced, stored: StoreCopy, verdict: Verdict) -> None:
    found: defaultdict[tuple[str, int], set[float]] = defaultdict(set)
    for agent, number, time in stored.samples:
        found[agent, number].add(time)
    missing: Counter[str] = Counter()
    names: defaultdict[str, list[int]] = defaultdict(list)
    excused = 0
    downs = [(event.agent, event.time) for event in stored.events if _counter_down(event)]
    for served in produced.served:
        times = found.pop((served.agent, served.number), set())
        if len(times) > 1:
            verdict.add("doubled", f"reading {served.number} of {served.agent} is stored under {len(times)} times")
        for time in times:
            if abs(time - served.time) > DATE_SECONDS:
                verdict.add(
                    "misdated", f"reading {served.number} of {served.agent} is dated {time - served.time:+.1f} s off"
                )
        if times:
            continue
        durable = served.number in produced.durable_numbers[served.agent]
        killed = any(
            kill - UNWRITTEN_SECONDS <= served.time <= kill + _AFTERGLOW for kill in produced.kills[served.agent]
        )
        # A board that was not heard in time: the number was served, and nobody took it.
        unheard = any(agent == served.agent and abs(time - served.time) <= DATE_SECONDS for agent, time in downs)
        if (killed or unheard) and not durable:
            excused += 1
        else:
            missing[served.agent] += 1
            names[served.agent].append(served.number)
    for agent, count in missing.items():
        if count > stored.ledger[agent]:
            text = f"{count} readings of {agent} are neither stored nor in its ledger ({stored.ledger[agent]}): {names[agent][:10]}"
            verdict.findings += [("lost", text)] * (count - stored.ledger[agent])
    for place in found:
        verdict.add("wrong", f"a reading is stored that no board gave: {place}")
    verdict.counts |= {
        "readings produced": len(produced.served),
        "readings stored": len(produced.served) - excused - missing.total(),
        "readings unwritten at a kill": excused,
        "readings in the ledgers": stored.ledger.total(),
        "dead letters": stored.dead_letters,
    }


def _judge_commands(produced: Produced, stored: StoreCopy, verdict: Verdict) -> None:
    results: defaultdict[tuple[str, str, str], list[StoredEvent]] = defaultdict(list)
    seen = set()
    broadcasts = {command.id for command in stored.commands if command.broadcast}
    for event in map(_as_result, stored.events):
        if event is None or event.id in seen:
            continue
        seen.add(event.id)
        answers, outcome = event.data["command"], event.data["outcome"]
        if event.kind == "command_result" and answers in broadcasts and outcome in {"accepted", "done"}:
            # It says that the broadcast waits on the box's disk; what was heard is said by receipts.
            continue
        results[answers, event.agent, event.device].append(event)
    issued = {command.number: command for command in stored.commands}
    counts = Counter({"commands sent": len(produced.orders)})
    answered: set[str] = set()
    for order in produced.orders:
        command = issued.get(order.number)
        counts[f"commands answered {order.status or 'not at all'}"] += 1
        counts["commands executed"] += len(order.executions)
        if command is None:
            if order.executions:
                verdict.add("wrong", f"{_title(order)} was executed, and the collector does not know it")
            continue
        _judge_executions(order, command.expires, verdict)
        places = {(agent, device) for of, agent, device in results if of == command.id}
        executions = Counter((agent, device) for agent, device, _ in order.executions)
        for place in sorted(places | executions.keys()):
            events = results[command.id, *place]
            answered.add(command.id)
            _judge_answers(order, place, events, executions[place], verdict, counts)
            final = [event.data["outcome"] for event in events if event.data["outcome"] in _FINAL]
            # A refusal by the agent itself is shown at each of its devices.
            if place[1] and final and stored.outcomes.get((command.id, *place)) not in final:
                verdict.add("wrong", f"{_title(order)} on {place}: the collector shows another result than it stored")
        counts["commands that reached nobody"] += command.id not in answered
    for text in produced.ghosts:
        verdict.add("doubled", f"nobody asked for it, or it was done again: {text}")
    verdict.counts |= dict(sorted(counts.items()))


def _as_result(event: StoredEvent) -> StoredEvent | None:
    """Return a result as it is and a receipt in the form of one, None for any other event."""
    if event.kind != "receipt":
        return event if event.kind == "command_result" else None
    outcome = OUTCOMES.get(event.data["stage"], "accepted")
    return replace(
        event,
        data={"command": event.data["broadcast"], "outcome": outcome, "reason": event.data.get("reason") or ""},
    )


def _judge_executions(order: Order, expires: float, verdict: Verdict) -> None:
    for (agent, device), count in Counter((agent, device) for agent, device, _ in order.executions).items():
        if count > 1:
            verdict.add("doubled", f"{_title(order)} was executed {count} times on {agent}/{device}")
    for agent, device, time in order.executions:
        if time > expires + LATE_SECONDS:
            verdict.add(
                "late", f"{_title(order)} was executed on {agent}/{device} {time - expires:.1f} s after its expiry"
            )


def _judge_answers(
    order: Order,
    place: tuple[str, str],
    events: list[StoredEvent],
    executions: int,
    verdict: Verdict,
    counts: Counter[str],
) -> None:
    final = [event for event in events if event.data["outcome"] in _FINAL]
    where = f"{_title(order)} on {'/'.join(place)}"
    if not events:
        verdict.add("lost", f"{where} was executed, and no result is stored")
    elif not final:
        verdict.add("unanswered", f"{where} was accepted and has no final result")
    elif len(final) > 1:
        verdict.add("doubled", f"{where} has {len(final)} final results")
    for event in final[:1]:
        outcome, reason = event.data["outcome"], event.data.get("reason", "")
        counts["results unknown outcome" if reason.startswith("unknown outcome") else f"results {outcome}"] += 1
        if outcome == "done" and not executions:
            verdict.add("wrong", f"{where} is said to be done, and the device did nothing")
        if outcome == "refused" and executions:
            verdict.add("wrong", f"{where} was refused ({reason}) and executed")


def _counter_down(event: StoredEvent) -> bool:
    return event.kind == "state_changed" and event.device == "counter" and event.data.get("status") == "down"


def _name(card: Card) -> str:
    return f"{card.credential} at {card.agent}/{card.reader}"


def _title(order: Order) -> str:
    return f"{order.kind} {order.number} ({order.mark})"
