"""Days of agents on bad links against the collector's own judgement: how often is a living agent called gone, or a dead one not?

    python -m tests.faults.false_offline [--days N] [--agents N] [--seed N]

The collector's rules are the real ones (`links.judge`, `health.evaluate`, `BrokerLink.doubt_at`); so are the agent's (`Steadiness`).
Only the network and the clock are made up (`false_offline_world`). "Without hysteresis" is what an online flag shows that follows every
status of the present session at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from random import Random
from typing import NamedTuple

from tests.faults.false_offline_device import watch_device
from tests.faults.false_offline_records import Naive, Records
from tests.faults.false_offline_world import DAY, Centre, Life, Outage, at, is_in, live, make_centre
from village_collector.agent_health import LINK_GRACE, SILENT_AFTER
from village_collector.broker_link import RETURN_SECONDS, BrokerLink
from village_collector.health import evaluate
from village_wire.address import BrokerAddress, SessionSettings
from village_wire.session import Session

GRACE = LINK_GRACE.total_seconds()
#: A greeting and the states behind it are on their way for so long at the most.
ARRIVAL_SECONDS = 5.0
#: The truth is told so soon after the broker could tell it; a collector that comes back first waits for its agents.
TRUTH_SECONDS = 30.0
RETURN_LIMIT = RETURN_SECONDS + TRUTH_SECONDS
#: After each happening one looks again so many seconds later: around each limit of the rules.
_LOOKS = (0.0, 1.0, ARRIVAL_SECONDS + 0.01, GRACE - 0.1, GRACE + 0.1, 30.1, RETURN_SECONDS + 0.1, 120.1, 600.5, SILENT_AFTER.total_seconds() + 1)  # fmt: skip
_GONE = frozenset({"agent_offline", "agent_silent", "not_heard", "never_seen"})


@dataclass
class Counts:
    """What was seen. Episodes are counted, not looks."""

    agents: int = 0
    days: float = 0.0
    outages: int = 0
    #: Outages shorter than the grace less the way of a greeting: no alarm may come of them.
    blinks: int = 0
    stale_wills: int = 0
    looks: int = 0
    #: A connected agent called gone, or a blink that made an alarm.
    false_offline: int = 0
    #: An agent that was away and not called gone in time.
    missed: int = 0
    offline_alarms: int = 0
    unstable_alarms: int = 0
    #: The same without hysteresis.
    naive_false_offline: int = 0
    naive_alarms: int = 0
    device_faults: int = 0
    device_alarms: int = 0
    device_unstable: int = 0
    device_false: int = 0
    device_missed: int = 0

    def add(self, other: Counts) -> None:
        """Add another's counts."""
        for field in fields(self):
            if field.name != "days":
                setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def simulate(days: float, agents: int, seed: int) -> Counts:
    """Let agents live for days; the same numbers give the same counts."""
    centre = make_centre(Random(f"{seed} centre"), days * DAY)
    total = Counts(days=days)
    for number in range(agents):
        random = Random(f"{seed} {number}")
        total.add(_Watch(live(random, centre), centre).run())
        total.add(_device(random, days))
    return total


def table(counts: Counts, seed: int) -> str:
    """The counts for people; the last line is the verdict."""
    agent_days = counts.agents * counts.days
    rows = [
        ("", "hysteresis", "without"),
        ("outages", counts.outages, counts.outages),
        (f"  of these under {GRACE - ARRIVAL_SECONDS:.0f} s", counts.blinks, counts.blinks),
        ("stale wills", counts.stale_wills, counts.stale_wills),
        ("false offline", counts.false_offline, counts.naive_false_offline),
        ("missed", counts.missed, "-"),
        ("offline alarms per agent and day", f"{counts.offline_alarms / agent_days:.2f}", f"{counts.naive_alarms / agent_days:.2f}"),
        ("unstable alarms per agent and day", f"{counts.unstable_alarms / agent_days:.2f}", "-"),
        ("device faults per device and day", f"{counts.device_faults / agent_days:.2f}", f"{counts.device_faults / agent_days:.2f}"),
        ("device alarms per device and day", f"{counts.device_alarms / agent_days:.2f}", f"{counts.device_faults / agent_days:.2f}"),
        ("  of these unstable", f"{counts.device_unstable / agent_days:.2f}", "-"),
        ("device alarms false / missed", f"{counts.device_false} / {counts.device_missed}", "-"),
    ]  # fmt: skip
    lines = [f"{name:36}{mine!s:>12}{naive!s:>12}" for name, mine, naive in rows]
    bad = counts.false_offline + counts.missed + counts.device_false + counts.device_missed
    lines.append(
        f"{'PASSED' if bad == 0 else 'FAILED'}: {counts.agents} agents, {counts.days:g} days, seed {seed}, {counts.looks} looks:"
        f" {counts.false_offline} false offline, {counts.missed} missed"
    )
    return "\n".join(lines)


def _device(random: Random, days: float) -> Counts:
    seen = watch_device(random, days * DAY)
    return Counts(
        device_faults=seen.faults,
        device_alarms=seen.alarms,
        device_unstable=seen.unstable,
        device_false=seen.false,
        device_missed=seen.missed,
    )


class _Step(NamedTuple):
    """Something at a time; steps of the same time go in the order of their kinds."""

    time: float
    kind: int
    number: int


_STATUS, _READING, _SEEN, _LOOK = range(4)


class _Watch:
    """Follows one agent with the eyes of the first collector; the second one writes to the same store."""

    def __init__(self, life: Life, centre: Centre) -> None:
        self._life = life
        self._centre = centre
        self._records = Records("agent")
        self._naive = Naive()
        self._heard = 0.0
        session = Session(SessionSettings(BrokerAddress("mqtt://127.0.0.1"), "c"), [], lambda _message: None)
        self._session = session
        self._link = BrokerLink(session, lambda _agent: self._heard)
        self._counts = Counts(agents=1)
        #: What was shown at the last look: a reason of `_GONE` or unstable, else empty.
        self._shown = ""
        self._false = self._naive_false = False
        self._deliveries: list[tuple[float, int, int]] = []
        self._held = {span.end: span.end - span.begin for span in life.connected}

    def run(self) -> Counts:
        life, counts = self._life, self._counts
        counts.outages = len(life.outages)
        counts.blinks = sum(_is_blink(outage) for outage in life.outages)
        deadlines = {round(limit, 3): outage for outage in life.outages if (limit := self._limit(outage)) is not None}
        for step in self._steps([*deadlines]):
            if step.kind == _STATUS:
                self._take(step.number, step.time)
            elif step.kind == _READING and step.number == 0:
                self._heard = step.time
            elif step.kind == _SEEN:
                self._records.seen = step.time - 5.0
            elif step.kind == _LOOK:
                self._look(step.time, deadlines.get(step.time))
        return counts

    def _steps(self, deadlines: list[float]) -> Iterator[_Step]:
        life, away, end = self._life, self._centre.collector_away[0], self._centre.end
        steps: list[_Step] = []
        bases = [time for span in life.connected for time in span] + [span.end for span in away]
        for number, message in enumerate(life.messages):
            for collector, time in enumerate(message.deliveries):
                if time is not None:
                    self._deliveries.append((time, number, collector))
                    if collector == 0:
                        bases.append(time)
        for span in away:
            # What the broker keeps is told to a collector that comes back.
            kept = self._kept(span.end)
            if kept is not None:
                self._deliveries.append((span.end + 0.1, kept, 0))
        self._deliveries.sort()
        steps += [_Step(time, _STATUS, place) for place, (time, _, _) in enumerate(self._deliveries)]
        steps += [_Step(time, _READING, collector) for time, collector in life.readings]
        # Who was heard of is written each five seconds.
        steps += [_Step(time + 5.0, _SEEN, 0) for time, _ in life.readings]
        looks = {base + after for base in bases for after in _LOOKS} | {time for time, _ in life.readings[::20]}
        steps += [_Step(time, _LOOK, 0) for time in {*looks, *deadlines} if 0 <= time < end]
        yield from sorted(steps)

    def _kept(self, time: float) -> int | None:
        """The number of the status that the broker keeps at a time."""
        forgot = max((span.end for span in self._centre.broker_away if span.end <= time), default=0.0)
        found = [number for number, message in enumerate(self._life.messages) if forgot <= message.time <= time]
        return found[-1] if found else None

    def _take(self, place: int, time: float) -> None:
        _, number, collector = self._deliveries[place]
        status = self._life.messages[number].status
        if collector == 0:
            self._heard = time
        if self._records.take(status, at(time)) == "stale" and not status.online:
            self._counts.stale_wills += 1
        if collector == 0 and self._naive.take(status):
            self._counts.naive_alarms += 1

    def _look(self, time: float, due: Outage | None) -> None:
        counts, away = self._counts, self._centre.collector_away[0]
        if is_in(away, time):
            return
        counts.looks += 1
        self._session.connected_at = max((span.end for span in away if span.end <= time), default=0.0)
        (row,) = evaluate([self._records.record()], [], at(time), lambda agent: self._link.doubt_at(agent, time))
        shown = row["code"] if row["code"] in _GONE | {"unstable"} else ""
        gone = shown in _GONE
        reachable = self._must_be_well(time)
        if gone and reachable and not self._false:
            counts.false_offline += 1
        self._false = gone and reachable
        naive = reachable and self._naive.online is False
        counts.naive_false_offline += naive and not self._naive_false
        self._naive_false = naive
        if due is not None and not gone:
            counts.missed += 1
        if gone and self._shown not in _GONE:
            counts.offline_alarms += 1
        if shown == "unstable" and self._shown == "":
            counts.unstable_alarms += 1
        self._shown = shown

    def _must_be_well(self, time: float) -> bool:
        """Whether an alarm would be false: the agent is connected, or was so a blink ago, for longer than a greeting takes."""
        span = is_in(self._life.connected, time)
        if span is not None and time - span.begin > ARRIVAL_SECONDS:
            return True
        return any(
            _is_blink(outage)
            and outage.begin <= time < outage.end + ARRIVAL_SECONDS
            and self._held[outage.begin] > ARRIVAL_SECONDS
            for outage in self._life.outages
        )

    def _limit(self, outage: Outage) -> float | None:
        """When an outage must be told at the latest; None for one that ends before."""
        limit = outage.begin + TRUTH_SECONDS if outage.told is None else outage.told + TRUTH_SECONDS
        while True:
            late = [
                span.end + RETURN_LIMIT
                for span in self._centre.collector_away[0]
                if span.begin < limit and span.end > outage.begin and span.end + RETURN_LIMIT > limit
            ]
            if not late:
                break
            limit = max(late)
        return limit if limit < min(outage.end, self._centre.end) else None


def _is_blink(outage: Outage) -> bool:
    return outage.end - outage.begin < GRACE - ARRIVAL_SECONDS


def main() -> int:
    """Simulate, print the table, and fail on a single false or missed alarm."""
    parser = argparse.ArgumentParser(description="Count false and missed offline alarms over simulated days.")
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    counts = simulate(wanted.days, wanted.agents, wanted.seed)
    sys.stdout.write(table(counts, wanted.seed) + "\n")
    return 1 if counts.false_offline + counts.missed + counts.device_false + counts.device_missed else 0


if __name__ == "__main__":
    sys.exit(main())
