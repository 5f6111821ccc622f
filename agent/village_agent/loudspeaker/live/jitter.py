"""Which frame of a live voice is heard next. Pure: times are numbers of seconds on one clock of ours, and come in as arguments.

The loudspeaker asks for a frame whenever it has room, so its own clock sets the pace. How late frames are is measured against the
fastest of the last seconds; that much, and no more, is waited for:

- What is missing while nothing after it has come is on its way (TCP keeps the order, and sends again what was lost): the gap is
  filled, and the voice goes on where it was. Nothing is lost, but the voice is later by the gap.
- What is missing although later frames have come is given up once its time is over.
- A voice that is later than it needs to be is hurried, by one frame in twelve at most, until it is not.
- A voice that is later than `MAX_LAG` leaves out what lies between: who listens to a live voice must hear what is said now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from village_wire.live import FRAME_SECONDS

#: The voice starts with so much in hand, before anything is known of the link.
FIRST_LAG = 0.12
#: The least and the most that is waited for; a link that jitters by more is heard with gaps.
MIN_LAG, WAITED_LAG = 0.06, 0.6
#: Beyond it the voice jumps.
MAX_LAG = 1.5
#: For how long one late frame is remembered.
_WINDOW = 10.0
#: The loudspeaker takes frames in bursts; less than this is no lateness of the voice.
_SLACK = 0.06
#: Frames between two that are squeezed into one.
_HURRY_EACH = 12
#: Beyond any lag and any burst.
_MAX_WAITING = 500

Kind = Literal["before", "frame", "squeezed", "gap", "lost", "end"]


@dataclass(frozen=True, slots=True)
class Turn:
    """What sounds next for `FRAME_SECONDS`.

    `before`: silence, the voice has not begun. `frame`: one frame. `squeezed`: two frames in the time of one. `gap`: something in place
    of what has not come; the voice goes on after it. `lost`: something in place of a frame that will not be heard. `end`: it is over.
    """

    kind: Kind
    frames: tuple[bytes, ...] = ()


class JitterBuffer:
    """One loudspeaker's view of one voice. Counts frames: `heard`, `lost`, `filled` (gaps), `squeezed`, `skipped` (jumped over)."""

    def __init__(self) -> None:
        self._frames: dict[int, bytes] = {}
        self._next: int | None = None
        self._end: int | None = None
        #: (time, how much earlier or later than its number says) of the latest frames, for their least and greatest.
        self._early: deque[tuple[float, float]] = deque()
        self._late: deque[tuple[float, float]] = deque()
        self._since_squeeze = 0
        #: Frames that may yet come: too late, but worth knowing.
        self._given_up: set[int] = set()
        self.heard = self.lost = self.filled = self.squeezed = self.skipped = 0

    @property
    def begun(self) -> bool:
        """Whether a frame was given out."""
        return self._next is not None

    def put(self, number: int, frames: Sequence[bytes], now: float) -> None:
        """Take frames `number`, `number` + 1, … that came now. What came before, or comes too late, changes nothing."""
        for place, frame in enumerate(frames, number):
            offset = now - place * FRAME_SECONDS
            # What comes again says nothing about the link.
            if place not in self._frames and (self._next is None or place >= self._next):
                self._note(offset, now)
                self._frames[place] = frame
                if len(self._frames) > _MAX_WAITING:
                    del self._frames[min(self._frames)]
            elif place in self._given_up:
                self._given_up.discard(place)
                self._note(offset, now)

    def end(self, number: int) -> None:
        """The voice has no frame `number` and none after it."""
        self._end = number if self._end is None else min(self._end, number)

    def cut(self) -> None:
        """The speaker is gone: what has come is heard, and nothing is waited for."""
        last = max(self._frames, default=-1) + 1
        self.end(last if self._next is None else max(self._next, last))

    def lag(self, now: float) -> float:
        """How much later than at best the next frame is heard, in seconds; 0 before the first."""
        return 0.0 if self._next is None else now - self._base() - self._next * FRAME_SECONDS

    def target(self) -> float:
        """The lag that the link needs."""
        late = self._late[0][1] - self._base() if self._late else 0.0
        return min(max(late, MIN_LAG), WAITED_LAG)

    def take(self, now: float) -> Turn:
        """Return what sounds next."""
        if self._next is None and not self._begin(now):
            return Turn("end") if self._end is not None and not self._frames else Turn("before")
        number = self._next
        if number is None:
            raise RuntimeError("not begun")
        if self._end is not None and number >= self._end:
            return Turn("end")
        self._forget(now)
        if self.lag(now) > MAX_LAG and self._frames:
            number = self._jump(number, now)
        frame = self._frames.pop(number, None)
        if frame is None:
            return self._missing(number, now)
        self.heard += 1
        self._since_squeeze += 1
        self._next = number + 1
        late = self.lag(now) > self.target() + _SLACK
        if late and self._since_squeeze >= _HURRY_EACH and number + 1 in self._frames:
            self._since_squeeze = 0
            self.heard += 1
            self.squeezed += 1
            self._next = number + 2
            return Turn("squeezed", (frame, self._frames.pop(number + 1)))
        return Turn("frame", (frame,))

    def _begin(self, now: float) -> bool:
        if not self._frames:
            return False
        wanted = now - self._base() - max(FIRST_LAG, self.target())
        first = min(self._frames)
        # A short voice that is over before the wait for it is over is heard all the same.
        if wanted < first * FRAME_SECONDS and self._end is None:
            return False
        # Who comes late hears what is said now.
        ready = [place for place in self._frames if place * FRAME_SECONDS <= wanted] or [first]
        self._next = max(ready)
        self._drop_before(self._next)
        return True

    def _missing(self, number: int, now: float) -> Turn:
        later = bool(self._frames) or self._end is not None
        if later and self.lag(now) >= self.target():
            self._next = number + 1
            self.lost += 1
            self._given_up = {place for place in self._given_up if place > number - _MAX_WAITING} | {number}
            return Turn("lost")
        self.filled += 1
        return Turn("gap")

    def _jump(self, number: int, now: float) -> int:
        wanted = int((now - self._base() - self.target()) / FRAME_SECONDS)
        goal = max(number, min(wanted, max(self._frames)))
        there = sum(place < goal for place in self._frames)
        self.skipped += there
        self.lost += goal - number - there
        self._next = goal
        self._drop_before(goal)
        return goal

    def _drop_before(self, number: int) -> None:
        for place in [place for place in self._frames if place < number]:
            del self._frames[place]

    def _base(self) -> float:
        return self._early[0][1] if self._early else 0.0

    def _note(self, offset: float, now: float) -> None:
        # Each keeps only what can still become the extreme of the window.
        while self._early and self._early[-1][1] >= offset:
            self._early.pop()
        self._early.append((now, offset))
        while self._late and self._late[-1][1] <= offset:
            self._late.pop()
        self._late.append((now, offset))

    def _forget(self, now: float) -> None:
        for kept in (self._early, self._late):
            while len(kept) > 1 and kept[0][0] < now - _WINDOW:
                kept.popleft()
