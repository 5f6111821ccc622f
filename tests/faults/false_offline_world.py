"""What happens to agents on bad links for days: connections, greetings, wills and readings, and when each of them arrives. Pure.

Times are seconds since the beginning. Lengths of outages follow a Pareto distribution: most links blink for seconds, a few are away for
hours. Greetings and wills reach two collectors, each in its own time; the broker may take a will for the last word after the next
greeting, as brokers do on a take-over; it forgets all when it is started anew, and collectors miss what comes while they are away.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from village_agent.health import INTERVAL_SECONDS
from village_agent.pace import Pace
from village_agent.tables import CollectorTable
from village_wire.presence import AgentStatus

T0 = datetime(2026, 11, 24, tzinfo=UTC)
DAY = 86_400.0
#: A broker gives a connection up after one and a half keep-alives (MQTT 5, section 3.1.2.10).
KEEP_ALIVE_SECONDS = 1.5 * CollectorTable.model_fields["keep_alive_seconds"].default
#: Readings are gathered for so long; each agent has at least its own.
REPORT_SECONDS = INTERVAL_SECONDS
GATHER_SECONDS = Pace().send_seconds
#: Longest wait of `Session` between two tries.
BACK_OFF_CAP = 60.0
BLINKS_PER_DAY, RESTARTS_PER_DAY, DEATHS_PER_DAY = 20.0, 0.5, 0.1
COLLECTORS = 2


class Span(NamedTuple):
    """From `begin` until `end`."""

    begin: float
    end: float


class Outage(NamedTuple):
    """An agent without a connection. `told` is when the broker could tell at the latest; None if it was itself away."""

    begin: float
    end: float
    told: float | None


@dataclass(frozen=True, slots=True)
class Message:
    """A status as it reaches the broker, and each collector (None: never)."""

    time: float
    status: AgentStatus
    deliveries: tuple[float | None, ...]


@dataclass
class Life:
    """One agent's days."""

    connected: list[Span] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    #: When a reading reaches a collector, and which.
    readings: list[tuple[float, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Centre:
    """When the broker was away, and when each collector had no connection to it."""

    end: float
    broker_away: Sequence[Span]
    collector_away: Sequence[Sequence[Span]]


def heavy(random: Random, scale: float = 1.0, shape: float = 0.7, cap: float = 6 * 3600.0) -> float:
    """A length in seconds; with the defaults the median is 2.7 s, and one of seven is over 15 s."""
    return min(cap, scale * random.paretovariate(shape))


def make_centre(random: Random, end: float) -> Centre:
    """Broker and collectors: the broker is started anew every second day, each collector twice a day."""
    broker = _spans(random, end, 0.5, lambda: 2 + heavy(random, cap=600))
    away = []
    for _ in range(COLLECTORS):
        own = _spans(random, end, 2.0, lambda: 3 + heavy(random, cap=600))
        lost = [Span(span.begin, span.end + _wait(random, span)) for span in broker]
        away.append(_merged(sorted([*own, *lost])))
    return Centre(end, broker, away)


def is_in(spans: Sequence[Span], time: float) -> Span | None:
    """Return the span that holds a time, None if there is none. `spans` are in order."""
    place = bisect.bisect_right(spans, (time, float("inf"))) - 1
    return spans[place] if place >= 0 and spans[place].begin <= time < spans[place].end else None


def at(time: float) -> datetime:
    """The date of a time."""
    return T0 + timedelta(seconds=time)


class _Liver:
    """Lives one agent's days."""

    def __init__(self, random: Random, centre: Centre) -> None:
        self._random = random
        self._centre = centre
        self._session = f"{random.getrandbits(128):032x}"
        self._connection = 0
        self._late_wills: list[float] = []
        self.life = Life()

    def live(self) -> Life:
        random, centre = self._random, self._centre
        now = self._broker_there(random.uniform(0, 60))
        while now < centre.end:
            begin = now
            self._connection += 1
            self._send(begin + random.uniform(0.05, 0.5), online=True)
            cause, stop = self._next_stop(begin)
            for will in self._late_wills:
                # The agent sees that the broker took it for the last word, and says once more that it is there.
                greeted = will + random.uniform(0.5, 1.0)
                if will > begin and greeted < stop:
                    self._send(greeted, online=True)
            self._late_wills = [will for will in self._late_wills if will > stop]
            now = self._lose(cause, stop) if stop < centre.end else centre.end
            self.life.connected.append(Span(begin, stop))
            self._report(begin, stop)
        self.life.messages.sort(key=lambda message: message.time)
        self.life.readings.sort()
        return self.life

    def _next_stop(self, begin: float) -> tuple[str, float]:
        """Return what ends a connection, and when. Half of the links that blink for less than a minute keep theirs."""
        random = self._random
        now = begin
        while True:
            stops = [
                (now + random.expovariate(rate / DAY), cause)
                for cause, rate in (
                    ("blink", BLINKS_PER_DAY),
                    ("restart", RESTARTS_PER_DAY),
                    ("death", DEATHS_PER_DAY),
                )
            ]
            away = next((span.begin for span in self._centre.broker_away if span.begin > begin), float("inf"))
            stop, cause = min([*stops, (away, "broker")])
            if cause != "blink" or random.random() < 0.5 or stop >= self._centre.end:
                return cause, min(stop, self._centre.end)
            now = stop

    def _lose(self, cause: str, stop: float) -> float:
        """Lose the connection at `stop`; return when the next one is made."""
        random, centre = self._random, self._centre
        at_once = random.random() < 0.5
        if cause == "broker":
            away = is_in(centre.broker_away, stop)
            assert away is not None
            back = away.end + _wait(random, away)
        elif cause == "blink":
            length = heavy(random)
            back = stop + length + random.uniform(0, min(BACK_OFF_CAP, max(1.0, length)))
        elif cause == "restart":
            back = stop + (random.uniform(1, 6) if at_once else random.uniform(20, 60))
        else:
            back = stop + random.uniform(0.5, 48) * 3600
        back = self._broker_there(back)
        noticed = stop + 0.1 if at_once else min(stop + KEEP_ALIVE_SECONDS, back)
        away_meanwhile = any(span.begin <= noticed and span.end > stop for span in centre.broker_away)
        late = random.uniform(0, 120) if noticed == back and random.random() < 0.3 else 0.0
        if cause != "broker" and not away_meanwhile:
            will = noticed + late
            if not any(span.begin <= will and span.end > noticed for span in centre.broker_away):
                self._send(will, online=False)
                self._late_wills.append(will)
        told = None if cause == "broker" or away_meanwhile else (stop + 0.1 if at_once else stop + KEEP_ALIVE_SECONDS)
        self.life.outages.append(Outage(stop, back, told))
        if cause in {"restart", "death"}:
            self._session, self._connection = f"{random.getrandbits(128):032x}", 0
        return back

    def _broker_there(self, time: float) -> float:
        away = is_in(self._centre.broker_away, time)
        return time if away is None else away.end + _wait(self._random, away)

    def _send(self, time: float, *, online: bool) -> None:
        random = self._random
        status = AgentStatus(online=online, session=self._session, version="1", since=T0, connection=self._connection)
        deliveries: list[float | None] = []
        for away in self._centre.collector_away:
            late = random.uniform(0, 3) if random.random() < 0.02 else 0.0
            arrival = time + random.uniform(0.01, 0.3) + late
            deliveries.append(None if is_in(away, time) or is_in(away, arrival) else arrival)
        self.life.messages.append(Message(time, status, tuple(deliveries)))

    def _report(self, begin: float, stop: float) -> None:
        """Each reading waits for others before it is sent; one that finds no collector comes again later."""
        time = begin + 5.0
        while time < stop:
            there = [number for number, away in enumerate(self._centre.collector_away) if is_in(away, time) is None]
            if there:
                self.life.readings.append((time, self._random.choice(there)))
            time += REPORT_SECONDS + self._random.uniform(0, GATHER_SECONDS)


def live(random: Random, centre: Centre) -> Life:
    """Return one agent's days."""
    return _Liver(random, centre).live()


def _wait(random: Random, away: Span) -> float:
    """How long a client waits for its next try after a broker was away."""
    return random.uniform(0.1, min(BACK_OFF_CAP, max(1.0, away.end - away.begin)))


def _spans(random: Random, end: float, per_day: float, length: Callable[[], float]) -> list[Span]:
    spans, time = [], random.expovariate(per_day / DAY)
    while time < end:
        spans.append(Span(time, time + length()))
        time = spans[-1].end + 120 + random.expovariate(per_day / DAY)
    return spans


def _merged(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and span.begin <= merged[-1].end:
            merged[-1] = Span(merged[-1].begin, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged
