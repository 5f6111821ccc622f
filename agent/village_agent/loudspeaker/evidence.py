"""What a meter and a microphone say about a sound that was played: pure decisions.

Hardware contradicts a play only where it leaves no other reading:

- the current: no three readings in a row, of which two at least show the rise, however short the current was below before. A play that was
  too short for three readings, a volume of 0 or a live voice, which may be silent, contradicts nothing; nor does a meter that is silent.
- the microphone: the chime is not in the recording, and would have been found there if it had come 10 dB weaker than it usually does: the
  recording itself is asked. So a noisy market, a microphone that hears nothing at all or a loudspeaker that it never heard before contradict
  nothing, and the receipt says that and why. A dead horn contradicts, also where the amplifier drew current: current is not sound.

A play that is contradicted was not heard, so the broadcast has failed unless another of its plays was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from village_agent.loudspeaker.hearing import Figures

#: Readings in a row of which the middle one counts, so that one that is wrong decides nothing.
READINGS = 3


@dataclass(frozen=True, slots=True)
class Testimony:
    """What one witness says; `contradicts` is whether the play was not heard for certain."""

    text: str
    contradicts: bool = False


def sustained(readings: Sequence[float]) -> float | None:
    """Return the most that two of three readings in a row reach; None for fewer than three."""
    if len(readings) < READINGS:
        return None
    return max(sorted(readings[at : at + READINGS])[1] for at in range(len(readings) - READINGS + 1))


def judge_current(
    idle: float | None, during: Sequence[float], rise: float, *, problem: str = "", may_be_silent: bool = False
) -> Testimony:
    """Judge amperes read while a sound played against those read while none did; `rise` is by how many it must have been more.

    `idle` is None where it is not known: then it is at least 0. `problem` is why readings are missing.
    """
    readings = [value for value in during if math.isfinite(value)]
    drawn = sustained(readings)
    rest = "idle unknown" if idle is None else f"{idle:.2f} A idle"
    if drawn is None:
        why = problem or f"the sound was too short, {len(readings)} readings"
        return Testimony(f"amplifier current not known: {why}")
    if drawn >= (idle or 0.0) + rise:
        doubt = "" if idle is not None else ", so the rise is not known"
        return Testimony(f"amplifier drew {drawn:.2f} A, {rest}{doubt}")
    if may_be_silent:
        return Testimony(f"amplifier drew {drawn:.2f} A, {rest}: it was silent or without power")
    return Testimony(f"amplifier drew only {drawn:.2f} A, {rest}: a sound takes {rise:g} A more", contradicts=True)


def judge_chime(figures: Figures | None, usual_db: float | None, problem: str = "") -> Testimony:
    """Judge what was found in a recording; `figures` is None where nothing could be found out, for the reason `problem`."""
    if figures is None:
        return Testimony(f"chime not listened to: {problem}")
    if figures.silent:
        return Testimony("the microphone hears nothing at all, so it can't tell")
    usually = "" if usual_db is None else f", usually {usual_db:.0f} dB"
    if figures.heard:
        return Testimony(f"chime heard, {figures.chime_db:.0f} dB{usually}, likeness {figures.likeness:.2f}")
    noise = f"likeness {figures.likeness:.2f}, noise {figures.recording_db:.0f} dB"
    if figures.absent:
        return Testimony(f"chime not heard though the microphone would hear it ({noise}{usually})", contradicts=True)
    if usual_db is None:
        return Testimony(f"chime not heard, nor ever before by this microphone, so it can't tell ({noise})")
    return Testimony(f"chime not heard, too noisy to tell ({noise}{usually})")
