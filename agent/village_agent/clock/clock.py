"""What a box without a clock knows of the time. Pure: the time since boot and the nonces come in as arguments.

All that happens is measured on the clock that counts from the boot (CLOCK_BOOTTIME): it never jumps, and it goes on while the
agent is restarted. The date is that plus an offset, which comes

- from the collector: signed, for a nonce of ours, within `MAX_ROUND_TRIP_NS`; it is wrong by half the round trip at the most. It
  is the truth: what contradicts it was wrong. Answers that do not contradict each other narrow the time from both sides (Marzullo), so
  that the quickest way out of one and the quickest way back of another count;
- from the system's own clock as long as nobody better has spoken, and only while the system says that it is synchronised. A system
  clock that jumps later changes nothing.

Until then the date is *provisional*: the time since boot, told as if the boot had been in 1970. Provisional times can be compared
with each other; none is published. Adding `first_offset_ns` dates them. No boot lasts ten years, so a time of the seventies is
provisional and any other is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from village_wire.time_answer import TimeAnswer

Source = Literal["collector", "system"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_NS = 1_000_000_000
#: Ten years: times below are counted from the boot.
PROVISIONAL_END_NS = 10 * 366 * 86_400 * SECOND_NS
#: 2024. Whoever says that it is earlier has no clock either.
EARLIEST_NS = 1_704_067_200 * SECOND_NS
#: An answer that was longer under way says too little.
MAX_ROUND_TRIP_NS = 10 * SECOND_NS
#: A cheap crystal in summer heat is off by less: 200 parts in a million, 0.7 s an hour.
DRIFT_PARTS = 5_000
#: Corrections are spread: one second takes ten, so that times neither repeat nor leap.
SLEW_PARTS = 10
#: A larger error is not drift: the collector's clock was set. It is taken over at once.
MAX_SLEW_NS = 30 * SECOND_NS
#: How far a synchronised system clock may be off.
SYSTEM_ERROR_NS = SECOND_NS


class RejectedAnswer(Exception):
    """An answer that says nothing of the present time; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The date is the time since boot plus `offset_ns`, give or take `error_ns` at the time since boot `measured_ns`."""

    offset_ns: int
    error_ns: int
    measured_ns: int
    source: Source

    def error_at(self, boot_ns: int) -> int:
        """Return the error once the crystal has drifted until `boot_ns`."""
        return self.error_ns + max(0, boot_ns - self.measured_ns) // DRIFT_PARTS

    def agrees(self, other: Estimate, boot_ns: int) -> bool:
        """Whether both may be true."""
        return abs(self.offset_ns - other.offset_ns) <= self.error_at(boot_ns) + other.error_at(boot_ns)

    def narrowed(self, other: Estimate, boot_ns: int) -> Estimate:
        """Return what is true of both at `boot_ns`; they must agree."""
        low = max(one.offset_ns - one.error_at(boot_ns) for one in (self, other))
        high = min(one.offset_ns + one.error_at(boot_ns) for one in (self, other))
        return Estimate((low + high) // 2, (high - low) // 2 + 1, boot_ns, other.source)


class Clock:
    """The clock of one boot. Every `boot_ns` is in nanoseconds since the boot and not before the last one."""

    def __init__(self) -> None:
        #: Offset that dates what happened before the time was known; the same after a restart in this boot.
        self.first_offset_ns: int | None = None
        self.estimate: Estimate | None = None
        self._asked: tuple[str, int] | None = None
        #: What is still to be corrected: at `_slew_from` the clock went ahead by `_slew_ns`.
        self._slew_ns = 0
        self._slew_from = 0

    @property
    def known(self) -> bool:
        """Whether dates are true; never false again once it is true."""
        return self.estimate is not None

    def now_ns(self, boot_ns: int) -> int:
        """Return nanoseconds since 1970, provisional while the time is not known."""
        if self.estimate is None:
            return boot_ns
        return boot_ns + self.estimate.offset_ns + self._ahead(boot_ns)

    def error_ns(self, boot_ns: int) -> int | None:
        """Return how far `now_ns` may be off, None while the time is not known."""
        if self.estimate is None:
            return None
        return self.estimate.error_at(boot_ns) + abs(self._ahead(boot_ns))

    def ask(self, nonce: str, boot_ns: int) -> None:
        """A request with this nonce leaves now. Answers to earlier ones no longer count."""
        self._asked = (nonce, boot_ns)

    def answer(self, answer: TimeAnswer, boot_ns: int) -> Estimate:
        """Take an answer whose signature is verified; return what it says.

        Raises:
            RejectedAnswer: for another nonce, a second time, too late, or from a collector without a clock.
        """
        if self._asked is None or answer.nonce != self._asked[0]:
            raise RejectedAnswer("not for the last request")
        asked, self._asked = self._asked[1], None
        round_trip = boot_ns - asked
        if round_trip > MAX_ROUND_TRIP_NS:
            raise RejectedAnswer(f"under way for {round_trip / SECOND_NS:.1f} s")
        time_ns = to_ns(answer.time)
        if time_ns < EARLIEST_NS:
            raise RejectedAnswer(f"the collector has no clock itself: {answer.time:%Y-%m-%d}")
        found = Estimate(time_ns - asked - round_trip // 2, round_trip // 2 + 1000, boot_ns, "collector")
        known = self.estimate
        if known is not None and known.source == "collector" and known.agrees(found, boot_ns):
            self._adopt(known.narrowed(found, boot_ns), boot_ns)
        else:
            self._adopt(found, boot_ns)
        return found

    def system(self, time_ns: int, boot_ns: int) -> bool:
        """The system says that it is synchronised and that it is `time_ns`; return whether that was taken over."""
        known = self.estimate
        found = Estimate(time_ns - boot_ns, SYSTEM_ERROR_NS, boot_ns, "system")
        if time_ns < EARLIEST_NS or (
            known is not None and (known.source != "system" or not known.agrees(found, boot_ns))
        ):
            return False
        self._adopt(found, boot_ns)
        return True

    def restore(self, first_offset_ns: int, estimate: Estimate) -> None:
        """Take over what was known earlier in this boot, unless something is known already."""
        if self.estimate is None:
            self.first_offset_ns, self.estimate = first_offset_ns, estimate

    def _adopt(self, found: Estimate, boot_ns: int) -> None:
        if self.estimate is None:
            self.first_offset_ns = found.offset_ns if self.first_offset_ns is None else self.first_offset_ns
        else:
            ahead = self.estimate.offset_ns + self._ahead(boot_ns) - found.offset_ns
            self._slew_ns, self._slew_from = (ahead if abs(ahead) <= MAX_SLEW_NS else 0), boot_ns
        self.estimate = found

    def _ahead(self, boot_ns: int) -> int:
        """How far the clock is still ahead of its estimate."""
        done = max(0, boot_ns - self._slew_from) // SLEW_PARTS
        return max(0, self._slew_ns - done) if self._slew_ns > 0 else min(0, self._slew_ns + done)


def to_ns(time: datetime) -> int:
    """Return nanoseconds since 1970, exactly."""
    return (time - EPOCH) // timedelta(microseconds=1) * 1000


def from_ns(time_ns: int) -> datetime:
    """Return the time, cut to microseconds."""
    return EPOCH + timedelta(microseconds=time_ns // 1000)


def is_provisional(time: datetime) -> bool:
    """Whether a time counts from the boot."""
    return to_ns(time) < PROVISIONAL_END_NS
