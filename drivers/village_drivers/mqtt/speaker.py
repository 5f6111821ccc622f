"""One loudspeaker that speaks MQTT itself: lets it speak, and waits for the best proof that it gives.

Best is a device that tells when it is busy, or when a text has ended. One that tells neither is believed only while its
availability topic says that it is online, or where the configuration says that nothing will be told; the evidence says so.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from village_drivers.kit import DriverError, NotConnected, Refused
from village_drivers.mqtt.dialects import Busy, Dialect, Done, Failed, Online, Order, Sign
from village_drivers.mqtt.manners import Link, Manners, either
from village_drivers.turn import Turn
from village_wire.states import Status

#: From a text to the word that it is spoken: a device that fetches its speech over 4G takes seconds.
BEGIN_SECONDS = 10.0
#: How long a device that still speaks is waited for before somebody else must decide.
#: Shorter than what the agent takes for a sign that a device speaks (`loudspeaker.sounding`).
PATIENCE_SECONDS = 2.5
_SILENCE_SECONDS = 3.0
#: Slow speech takes three times the estimate; what takes much longer hangs.
_OVERDUE_FACTOR, _OVERDUE_SECONDS = 3.0, 30.0
#: The fastest voices speak thirty characters a second; who has done sooner has not spoken.
_LEAST_SECONDS_PER_CHARACTER = 0.02
#: Codes of what is the device's fault rather than that of the moment.
_TROUBLES = frozenset({"device_offline", "no_answer", "rejected"})
#: Before the first sound.
_START_SECONDS = 0.5


class Speaker:
    """The `Loudspeaker` ability of one device."""

    def __init__(
        self,
        name: str,
        dialect: Dialect,
        manners: Manners,
        link: Link,
        online: Callable[[], bool | None] | None = None,
    ) -> None:
        """`online` tells what others know of its availability; without it only its own signs count."""
        self.name = name
        self.volume = manners.volume
        self.dialect = dialect
        self._manners = manners
        self._link = link
        self._others = online
        self._online: bool | None = None
        #: What it told since this connection, and what the broker had kept from before.
        self.busy: bool | None = None
        self._was_busy = False
        self._device = asyncio.Lock()
        self._turn: Turn | None = None
        self._stops = 0
        self._news = asyncio.Event()
        #: Until then it sounds, as far as is known.
        self._sounds_until = 0.0
        self._open = ""
        self._began: float | None = None
        self._ended: float | None = None
        self._fault = ""
        self._trouble: DriverError | None = None
        self._proof = ""

    async def say(self, text: str, volume: float | None) -> str:
        """See `abilities.Loudspeaker.say`. One text at a time: others wait, and `stop` refuses those that wait too."""
        if not any(char.isalnum() for char in text):
            raise Refused("rejected", "the text has nothing to speak")
        size = len(text.encode(errors="replace"))
        if size > self._manners.max_text_bytes:
            raise Refused("unplayable", f"a sentence of {size} bytes; this device takes {self._manners.max_text_bytes}")
        percent = self._level(volume)
        async with self._take_turn():
            await self._get_free(PATIENCE_SECONDS)
            estimate = _START_SECONDS + self._manners.seconds_per_character * len(text)
            identity = self._open_sound(estimate)
            try:
                for order in self.dialect.say(text, percent, identity):
                    listened = await self._link.send(order)
                    if not listened:
                        # Nothing sounds then.
                        self._sounds_until = 0.0
                        raise NotConnected("device_offline", f"nobody listens at {order.topic}")
                self.volume = percent
                evidence = await self._until_end(text, estimate)
            except (asyncio.CancelledError, DriverError):
                self._hush()
                raise
            self._sounds_until = 0.0
            return evidence

    async def stop(self) -> None:
        """See `abilities.Loudspeaker.stop`. A device that can't be silenced refuses while it sounds."""
        self._stops += 1
        if self._turn is not None:
            self._turn.end(Refused("silenced", "stopped while it was spoken"))
        async with self._take_turn():
            order = self.dialect.stop()
            if order is None:
                if self._sounds:
                    raise Refused("busy", "this device can't be silenced; what it has begun ends by itself")
                return
            if not await self._link.send(order):
                raise NotConnected("device_offline", f"nobody listens at {order.topic}")
            self._sounds_until = 0.0
            if not await self._wait(lambda: not self.busy, _SILENCE_SECONDS):
                raise Refused("rejected", f"it still reports busy {_SILENCE_SECONDS:g} s after it was told to stop")

    @property
    def online(self) -> bool | None:
        """Whether it says that it is online; None while nothing is known."""
        return self._online if self._others is None else self._others()

    def hear(self, sign: Sign) -> None:
        """Take in what the device says."""
        now = asyncio.get_running_loop().time()
        self._trouble = None
        match sign:
            case Online(on):
                self._online = on
                if not on:
                    self.busy = None
            case Busy(on, retained=True):
                self._was_busy = on
            case Busy(on):
                self.busy, self._was_busy = on, False
                if on and self._began is None:
                    self._began = now
                elif not on and self._began is not None:
                    self._ended = self._ended or now
            case Done(identity) if self._open and identity in {"", self._open}:
                self._ended, self._open, self._sounds_until = now, "", 0.0
            case Failed(identity, reason) if self._open and identity in {"", self._open}:
                self._fault, self._open, self._sounds_until = reason, "", 0.0
        self.wake()
        self._link.changed()

    def wake(self) -> None:
        """Something that others know of it may have changed."""
        self._news.set()

    def lost(self, error: DriverError) -> None:
        """The connection is gone: nothing that is heard from now on can be proof."""
        self._was_busy = bool(self.busy)
        self._online = self.busy = None
        if self._turn is not None:
            self._turn.end(error)
        self.wake()

    def last_words(self) -> Order | None:
        """What silences it before the connection is given up, None if nothing sounds or nothing can."""
        return self.dialect.stop() if self._turn is not None else None

    def condition(self) -> tuple[Status, str, str]:
        """Return status, code and evidence, as the device told them."""
        if self.online is False:
            return "down", "device_offline", "it says that it is offline"
        if self._trouble is not None:
            status: Status = "down" if self._trouble.code == "device_offline" else "degraded"
            return status, self._trouble.code, str(self._trouble)
        if self.online:
            return "ok", "works", "it says that it is online"
        if self.busy is not None:
            return "ok", "works", "it tells whether it speaks"
        if self._proof:
            return "ok", "works", f"last heard: {self._proof}"
        if self._manners.without_feedback:
            return "unknown", "not_reported", "this device tells nothing, by configuration"
        return "unknown", "not_reported", "no word from it yet"

    def _level(self, volume: float | None) -> float:
        return min(max(self._manners.volume if volume is None else volume, 0.0), 100.0)

    @asynccontextmanager
    async def _take_turn(self) -> AsyncIterator[None]:
        stops = self._stops
        async with self._device:
            if self._stops != stops:
                raise Refused("silenced", "stopped before its turn")
            self._turn = turn = Turn()
            self._fault = ""
            try:
                async with turn.held():
                    # What ends the turn from outside is no trouble of the device.
                    try:
                        if self.online is False:
                            raise NotConnected("device_offline", f"{self.name} says that it is offline")
                        yield
                    except DriverError as error:
                        if error.code in _TROUBLES and self.online is not False:
                            self._trouble = error
                        raise
                    self._trouble = None
            finally:
                self._turn = None
                self._link.changed()

    @property
    def _sounds(self) -> bool:
        if self.dialect.tells_state and self.busy is not None:
            return self.busy
        return asyncio.get_running_loop().time() < self._sounds_until

    async def _get_free(self, patience: float) -> None:
        """Wait until the device is silent; raises `NotConnected` if it goes on."""
        if self._was_busy or self._sounds:
            order = self.dialect.stop()
            if order is not None:
                await self._link.send(order)
                if not self.dialect.tells_state:
                    self._sounds_until = 0.0
                    return
        if self._was_busy and self.busy is None:
            # The broker's word for it may be from before a power cut.
            await self._wait(lambda: not self._was_busy, patience)
            self._was_busy = False
        if not await self._wait(lambda: not self._sounds, patience):
            raise NotConnected("busy", "it still speaks what it was told before, and can't be silenced")

    def _open_sound(self, seconds: float) -> str:
        """Begin to listen for the signs of one sound; return its name."""
        # Before it is sent: whoever cancels this can't know whether it arrived.
        self._sounds_until = asyncio.get_running_loop().time() + seconds
        self._open = secrets.token_hex(6)
        self._began, self._ended, self._fault = None, None, ""
        return self._open

    async def _until_end(self, text: str, estimate: float) -> str:
        now = asyncio.get_running_loop().time
        began, overdue = now(), _OVERDUE_FACTOR * estimate + _OVERDUE_SECONDS
        least = _LEAST_SECONDS_PER_CHARACTER * len(text)
        if self.dialect.tells_state:
            if not await self._wait(lambda: self._began is not None, BEGIN_SECONDS):
                raise Refused("rejected", f"it did not tell within {BEGIN_SECONDS:g} s that it speaks")
            began = self._began or began
            if not await self._wait(lambda: self._ended is not None, overdue):
                raise Refused("rejected", f"it still reports busy after {len(text)} characters took too long")
            evidence = "device reported busy {:.1f} s, then idle"
        elif self.dialect.tells_end:
            if not await self._wait(lambda: self._ended is not None, overdue):
                raise Refused("rejected", f"it did not tell within {overdue:.0f} s that it has spoken")
            evidence = "device reported the end of the text after {:.1f} s"
        else:
            return await self._estimated(estimate)
        seconds = (self._ended or now()) - began
        if seconds < least:
            raise Refused(
                "rejected", f"it says that it spoke {len(text)} characters in {seconds:.1f} s: is it switched off?"
            )
        self._proof = evidence.format(seconds)
        return self._proof

    async def _estimated(self, estimate: float) -> str:
        """Let the estimated time of a text pass; return what its end is worth."""
        proven = self._manners.tells_availability
        if proven and self.online is None:
            await self._wait(lambda: self.online is not None, PATIENCE_SECONDS)
        if proven and not self.online:
            raise NotConnected("device_offline", "nothing tells that it is online")
        await self._wait(lambda: False, estimate)
        length = f"length estimated: {estimate:.1f} s"
        if proven:
            return f"sent, device online before and after; it does not tell whether it sounded; {length}"
        return f"sent, and the broker has a listener; this device tells nothing; {length}"

    async def _wait(self, there: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is there; False after `seconds`. Raises if the device says that it will not be."""
        now = asyncio.get_running_loop().time
        deadline = now() + seconds
        while not there():
            if self._fault:
                raise Refused("rejected", f"the device says: {self._fault}")
            if self.online is False:
                raise NotConnected("device_offline", "it went offline")
            moment = now()
            if moment >= deadline:
                return False
            self._news.clear()
            due = self._sounds_until if moment < self._sounds_until < deadline else deadline
            await either(self._news.wait(), due - moment)
        return True

    def _hush(self) -> None:
        """Silence what nobody waits for any more."""
        order = self.dialect.stop()
        if order is not None:
            self._link.post(order)
            self._sounds_until = 0.0
