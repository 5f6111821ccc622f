"""When a device's condition is told: a fault must last, a recovery too, and what comes and goes is called unstable. No clock, no I/O.

- The first that is known of a device is told at once, and so is what is certain (`CERTAIN`): waiting would not change it.
- Anything worse must have lasted for `Holds.worse` seconds, anything better or another reason for `Holds.better`. A device that
  is never well but changes between reasons has lasted, too: what counts is that it was at least so bad all the time.
- A device that stopped being well `FALLS` times within `WINDOW_SECONDS` is degraded as `unstable`, until it was well for as long.
- Whatever happens, one device causes at most `BURST` changes and one more each `REFILL_SECONDS`; the newest condition follows then.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from village_wire.states import Status

#: Somebody tampers, the supply fails, or a person must change a setting: nothing that passes by itself within seconds.
CERTAIN = frozenset(
    {
        "tamper",
        "power_fault",
        "wrong_key",
        "misconfigured",
        "no_permission",
        "unauthorised",
        "program_missing",
        "disk_full",
        "under_voltage",
    }
)
WORSE_SECONDS = 10.0
BETTER_SECONDS = 5.0
UNSTABLE = "unstable"
FALLS = 3
WINDOW_SECONDS = 60.0
BURST = 10
REFILL_SECONDS = 60.0
#: Falls that are remembered to be counted in the evidence.
_MAX_FALLS = 100

_RANK: dict[Status, int] = {"ok": 0, "unknown": 1, "degraded": 2, "down": 3}
_RANKS = range(4)


@dataclass(frozen=True, slots=True)
class Holds:
    """How many seconds a worse and a better condition must last before they are told; 0 tells them at once."""

    worse: float = WORSE_SECONDS
    better: float = BETTER_SECONDS


@dataclass(frozen=True, slots=True)
class State:
    """One device's condition since `since`."""

    status: Status
    code: str
    evidence: str
    since: datetime

    @property
    def key(self) -> tuple[Status, str]:
        """What makes two conditions the same: status and reason."""
        return self.status, self.code


class _Moment(NamedTuple):
    """The same moment by the monotonic clock and by the calendar."""

    clock: float
    time: datetime


class Steadiness:
    """One device. `observe` takes what its driver says, `settle` answers what is to be told; `told` is what was told last.

    `now` is in seconds of a clock that never goes back.
    """

    def __init__(self, holds: Holds) -> None:
        self._holds = holds
        self.told: State | None = None
        self._seen: State | None = None
        #: Since when the device has been at least, and at most, of a rank without a break.
        self._worse: list[_Moment | None] = [None] * len(_RANKS)
        self._better: list[_Moment | None] = [None] * len(_RANKS)
        self._same: _Moment | None = None
        self._falls: deque[_Moment] = deque(maxlen=_MAX_FALLS)
        #: What is left for changes, in seconds of which each costs `REFILL_SECONDS`.
        self._budget = BURST * REFILL_SECONDS
        self._budget_at = 0.0

    def observe(self, status: Status, code: str, evidence: str, now: float, time: datetime) -> None:
        """Take what the driver says; `time` is the calendar's for the same moment."""
        before, moment = self._seen, _Moment(now, time)
        if before is not None and before.key == (status, code):
            self._seen = replace(before, evidence=evidence)
            return
        self._seen, self._same = State(status, code, evidence, time), moment
        if before is not None and before.status == "ok" and status != "ok":
            self._falls.append(moment)
        for rank in _RANKS:
            self._worse[rank] = (self._worse[rank] or moment) if _RANK[status] >= rank else None
            self._better[rank] = (self._better[rank] or moment) if _RANK[status] <= rank else None

    def settle(self, now: float) -> State | None:
        """Return the condition that is to be told now, None if there is none. Call it after each `observe` and once a second."""
        wanted = self._wanted(now)
        if wanted is None:
            return None
        if self.told is not None and wanted.key == self.told.key:
            self.told = replace(self.told, evidence=wanted.evidence)
            return None
        self._budget = min(BURST * REFILL_SECONDS, self._budget + now - self._budget_at)
        self._budget_at = now
        if self._budget < REFILL_SECONDS:
            return None
        self._budget -= REFILL_SECONDS
        self.told = wanted
        return wanted

    def _wanted(self, now: float) -> State | None:
        """Return the condition that the rules ask for, which may be the one that was told; None to leave everything as it is."""
        seen, told = self._seen, self.told
        if seen is None or told is None or seen.code in CERTAIN:
            return seen
        if told.status == "unknown" and seen.status != "unknown":
            return seen
        unstable = self._unstable(now)
        rank, told_rank = _RANK[seen.status], _RANK[told.status]
        if unstable is not None and told_rank < _RANK["degraded"]:
            return unstable
        if told.key == seen.key:
            return seen
        if told.code == UNSTABLE and seen.status == "ok":
            return seen if self._lasted(self._better[0], WINDOW_SECONDS, now) else unstable
        if rank > told_rank:
            began, hold = self._worse[rank], self._holds.worse
        elif rank < told_rank:
            began, hold = self._better[rank], self._holds.better
        else:
            began, hold = self._same, self._holds.better
        if began is None or not self._lasted(began, hold, now):
            return None
        if unstable is not None and rank < _RANK["degraded"]:
            return unstable
        return replace(seen, since=began.time)

    def _unstable(self, now: float) -> State | None:
        """Return the condition of a device that comes and goes, None for any other."""
        falls = [fall for fall in self._falls if fall.clock > now - WINDOW_SECONDS]
        if len(falls) < FALLS or self._seen is None:
            return None
        last = f", now {self._seen.status}: {self._seen.evidence or self._seen.code}"
        return State(
            "degraded",
            UNSTABLE,
            f"stopped working {len(falls)} times in {WINDOW_SECONDS:.0f} s{last}",
            falls[0].time,
        )

    @staticmethod
    def _lasted(began: _Moment | None, seconds: float, now: float) -> bool:
        return began is not None and now - began.clock >= seconds
