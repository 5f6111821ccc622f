"""Keeps the agent's clock: asks the collector on each connection and every hour, and tells who waits for the time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import uuid4

from village_agent.clock.clock import SECOND_NS, Clock, RejectedAnswer, from_ns
from village_agent.clock.dating import date_time
from village_agent.clock.system import boot_ns, synchronised_ns
from village_agent.identity.keyring import Keys
from village_wire.address import SessionError
from village_wire.backoff import full_jitter
from village_wire.outgoing import Publication
from village_wire.time_answer import (
    EXPIRY_SECONDS,
    InvalidTime,
    TimeRequest,
    encode_time_request,
    read_time_answer,
)
from village_wire.topics import AgentTopic

_log = logging.getLogger(__name__)

#: Between two requests while all is well: a cheap crystal drifts by less than a second.
INTERVAL_SECONDS = 3600.0
#: A date that may be off by more is asked for again soon: the link may be quicker then.
GOOD_ERROR_NS = SECOND_NS // 2
REFINE_SECONDS = 60.0
#: An answer that does not come is waited for as long as it would count.
_ANSWER_SECONDS = float(EXPIRY_SECONDS)
_RETRY_BASE, _RETRY_CAP = 2.0, 60.0
#: Good enough for loudspeakers of several boxes that are to be heard as one.
SHARP_ERROR_NS = SECOND_NS // 200
#: Each answer may narrow the time. A collector takes two requests a second.
_SHARP_TRIES = 5
_SHARP_LEAST_SECONDS, _SHARP_MOST_SECONDS = 0.7, 5.0
#: How often the system is asked whether it is synchronised, while nobody better has spoken.
_SYSTEM_SECONDS = 10.0
#: A system clock that the collector contradicts by more is worth a line in the log.
_WORTH_TELLING_NS = 2 * SECOND_NS


class Timekeeper:
    """Give `run` to the program's `TaskGroup`, answers to `on_answer`, and call `connected` after each connection."""

    def __init__(
        self,
        agent: str,
        keys: Keys,
        publish: Callable[[Publication], Awaitable[None]],
        *,
        session: str | None = None,
        trust_system: bool = True,
        system: Callable[[], int | None] = synchronised_ns,
        boot: Callable[[], int] = boot_ns,
    ) -> None:
        """`publish` raises `SessionError`. `session` is told to the collector; `system` is the date of a synchronised system clock."""
        self._session = session
        self._connected_at: int | None = None
        self._trust_system = trust_system
        self._agent = agent
        self._keys = keys
        self._publish = publish
        self._system = system
        self._boot = boot
        self._topic = str(AgentTopic(agent, "time"))
        self._wanted = asyncio.Event()
        #: An answer came, or a new connection makes waiting for it useless.
        self._ended = asyncio.Event()
        self._good = False
        self._bad = 0
        self._sharper = asyncio.Event()
        #: By when, on the clock that counts from the boot.
        self._sharp_by = 0
        #: The digest of the schedules that the agent has, None if it tells nothing of them.
        self.schedules: Callable[[], str | None] = lambda: None
        self.clock = Clock()
        #: Set once dates are true.
        self.known = asyncio.Event()
        #: Called in the event loop when the time becomes known or better known.
        self.on_change: Callable[[], None] = lambda: None

    def now_ns(self) -> int:
        """Return nanoseconds since 1970, provisional while the time is not known (see `clock`)."""
        return self.clock.now_ns(self._boot())

    def now(self) -> datetime:
        """As `now_ns`."""
        return from_ns(self.now_ns())

    @property
    def signed(self) -> bool:
        """Whether the time comes from the collector."""
        return self.clock.estimate is not None and self.clock.estimate.source == "collector"

    def dated(self, time: datetime) -> datetime | None:
        """Return the date of a time that may be provisional, None while that is not known."""
        return None if self.clock.first_offset_ns is None else date_time(time, self.clock.first_offset_ns)

    def connected(self) -> None:
        """There is a new connection, or a reason to doubt the time: ask."""
        self._connected_at = self._boot()
        self._keys.connected()
        self._wanted.set()
        self._ended.set()

    def sharpen(self, seconds: float) -> None:
        """Something begins in so many seconds on many boxes at once: ask until then, at random, for a time good to milliseconds."""
        by = self._boot() + int(seconds * SECOND_NS)
        # Each loudspeaker of the box says it.
        if abs(by - self._sharp_by) > SECOND_NS:
            self._sharp_by = by
            self._sharper.set()

    def restored(self) -> None:
        """The clock was told what an earlier run of the agent knew in this boot."""
        self._changed("known since an earlier run of the agent")

    def on_answer(self, payload: bytes) -> None:
        """Take a message of our channel `clock`; neither blocks nor raises."""
        moment = self._boot()
        before = self.clock.now_ns(moment) if self.clock.known else None
        # A system clock that is wrong must not rule out the key of whoever could mend it.
        keys = self._keys.at(self.now() if self.signed else None)
        try:
            found = self.clock.answer(read_time_answer(payload, self._agent, *keys), moment)
        except (InvalidTime, RejectedAnswer) as error:
            self._bad += 1
            if self._bad == 1:
                _log.warning("an answer about the time is ignored: %s; more of them are not logged", error)
            return
        self._good = True
        self._ended.set()
        self._keys.confirmed()
        off = None if before is None else before - found.offset_ns - moment
        if off is not None and abs(off) > max(_WORTH_TELLING_NS, 2 * found.error_ns):
            _log.warning("the clock was off by %.1f s; it follows the collector's", off / SECOND_NS)
        self._changed(f"told by the collector, give or take {found.error_ns / SECOND_NS:.3f} s")

    async def run(self) -> None:
        """Ask whenever it is time to, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_system(), name="system clock")
            group.create_task(self._ask(), name="ask for the time")
            group.create_task(self._ask_more(), name="ask for a sharper time")

    async def _ask(self) -> None:
        while True:
            await self._wanted.wait()
            attempt = 0
            while not await self._exchange():
                if await self._pause(full_jitter(attempt, random.random(), base=_RETRY_BASE, cap=_RETRY_CAP)):
                    attempt = 0
                attempt += 1
            error = self.clock.error_ns(self._boot()) or 0
            wait = INTERVAL_SECONDS if error <= GOOD_ERROR_NS else REFINE_SECONDS
            await self._pause(wait * random.uniform(0.9, 1.1))
            self._wanted.set()

    async def _ask_more(self) -> None:
        while True:
            await self._sharper.wait()
            self._sharper.clear()
            left = (self._sharp_by - self._boot()) / SECOND_NS
            gap = min(max(left / (_SHARP_TRIES + 2), _SHARP_LEAST_SECONDS), _SHARP_MOST_SECONDS)
            tries = max(1, min(_SHARP_TRIES, int(left / gap) - 1))
            # A whole county may begin at that moment.
            await asyncio.sleep(random.random() * max(0.0, left - (tries + 1) * gap))
            for _ in range(tries):
                if (self.clock.error_ns(self._boot()) or 0) <= SHARP_ERROR_NS:
                    break
                self._wanted.set()
                await asyncio.sleep(gap)

    async def _pause(self, seconds: float) -> bool:
        """Wait; return True at once when there is a new connection."""
        try:
            async with asyncio.timeout(seconds):
                return await self._wanted.wait()
        except TimeoutError:
            return False

    async def _exchange(self) -> bool:
        """Ask once; return whether a good answer came."""
        self._wanted.clear()
        self._ended.clear()
        self._good = False
        moment = self._boot()
        request = TimeRequest(nonce=uuid4().hex, keys=self._keys.number, schedules=self.schedules())
        if not self.clock.known and self._connected_at is not None:
            seconds = (moment - self._connected_at) // SECOND_NS
            request = request.model_copy(update={"session": self._session, "unsure_seconds": seconds})
        self.clock.ask(request.nonce, moment)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._publish(Publication(self._topic, encode_time_request(request), expiry=EXPIRY_SECONDS))
                await self._ended.wait()
        except (TimeoutError, SessionError) as error:
            _log.debug("no answer about the time: %s", error or "none came")
        return self._good

    async def _watch_system(self) -> None:
        while self._trust_system and not self.signed:
            time_ns = await asyncio.to_thread(self._system)
            if time_ns is not None:
                first = not self.clock.known
                if self.clock.system(time_ns, self._boot()) and first:
                    self._changed("known from the system's synchronised clock")
            await asyncio.sleep(_SYSTEM_SECONDS)

    def _changed(self, how: str) -> None:
        if not self.known.is_set():
            _log.info("the time is %s: %s", f"{self.now():%Y-%m-%dT%H:%M:%SZ}", how)
            self.known.set()
        self.on_change()
