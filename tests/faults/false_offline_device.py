"""Days of one device that comes and goes, against the agent's rules on what is told."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from tests.faults.false_offline_world import DAY, at, heavy
from village_agent.steadiness import UNSTABLE, Holds, Steadiness

FAULTS_PER_DAY = 30.0
#: A device that begins to flap does it so often within a minute or two.
FLAPS = 8
_HOLDS = Holds()


class Seen(NamedTuple):
    """Faults that happened, what was told of them, and what should not have been or was not."""

    faults: int
    alarms: int
    unstable: int
    false: int
    missed: int


def watch_device(random: Random, end: float) -> Seen:
    """Let a device fail and recover; its state is looked at each second around its changes, as the supervisor does."""
    device = Steadiness(_HOLDS)
    faults = alarms = unstable = false = missed = 0
    now, flapping = 0.0, 0

    def turn(ok: bool, begin: float, stop: float) -> None:
        nonlocal alarms, unstable, false, missed
        device.observe("ok" if ok else "down", "works" if ok else "no_answer", "", begin, at(begin))
        told_down = False
        times = [begin, *(begin + second for second in range(1, 75) if begin + second < stop)]
        for time in [*times, *([] if stop - begin < 76 else [stop - 0.5])]:
            state = device.settle(time)
            if state is not None and state.status in {"down", "degraded"}:
                alarms += 1
                unstable += state.code == UNSTABLE
                # A fault that has not lasted, or none at all, is no alarm; only flapping is.
                false += state.code != UNSTABLE and (ok or time - begin < _HOLDS.worse)
            told_down = told_down or (device.told is not None and device.told.status == "down")
        missed += not ok and stop - begin > _HOLDS.worse + 62 and not told_down

    while now < end:
        length = random.uniform(2, 15) if flapping else random.expovariate(FAULTS_PER_DAY / DAY)
        turn(True, now, now + length)
        now += length
        fault = random.uniform(0.5, 8) if flapping else heavy(random)
        faults += 1
        turn(False, now, now + fault)
        now += fault
        flapping = flapping - 1 if flapping else FLAPS * (random.random() < 0.1)
    return Seen(faults, alarms, unstable, false, missed)
