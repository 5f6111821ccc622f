"""What the drivers of both speech chips share: speaking with proof, silence, and watching over the chip.

A chip says that it is idle with one byte, which noise can imitate, and cuts its text off when the next one comes. So every
end of a text is confirmed by a status query before it counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

from village_drivers.kit import Device, DriverConfig, NotConnected, Refused, Report, Services
from village_drivers.line_monitor import LineMonitor
from village_drivers.serial_line import SerialLine
from village_drivers.speech.chip_type import ChipType, SpeechConfig, Timing
from village_drivers.speech.link import ChipLink
from village_drivers.speech.replies import Reply
from village_drivers.speech.text import Piece, clean_text, split_text
from village_drivers.turn import Turn
from village_wire.states import Status

_ATTEMPTS = 3


class SpeechChip:
    """A loudspeaker with a speech chip. Subclasses name the chip and its settings."""

    Config: ClassVar[type[DriverConfig]]
    chip: ClassVar[ChipType]

    def __init__(self, config: SpeechConfig, baudrate: int, services: Services) -> None:
        del services
        self.timing = Timing()
        self._config = config
        self._baudrate = baudrate
        self._link: ChipLink | None = None
        #: Held by whoever exchanges frames with the chip.
        self._exchange = asyncio.Lock()
        self._turn: Turn | None = None
        self._stops = 0
        self._monitor = LineMonitor(config.id, config.volume, self._condition)

    def devices(self) -> Mapping[str, Device]:
        """The one loudspeaker."""
        return {self._config.id: Device("loudspeaker", self, name=self._config.name)}

    async def run(self, report: Report) -> None:
        """See `kit.Driver.run`."""
        with SerialLine.open(self._config.port, self._baudrate) as line:
            self._link = link = ChipLink(line, self._baudrate, self.chip.gap_s, self._monitor.heard_noise)
            self._monitor.begin(report, self.timing)
            failure = NotConnected("line_closed", f"{self._config.port}: the driver was stopped")
            try:
                await self._monitor.serve(
                    reads=link.read(), writes=link.write(), watches=self._monitor.watch(lambda: self._look(link))
                )
            except NotConnected as error:
                failure = error
                raise
            finally:
                self._link = None
                self._monitor.end()
                if self._turn is not None:
                    self._turn.end(NotConnected(failure.code, str(failure)))
                    # Nobody will ask this chip for proof any more, so it should not go on by itself.
                    with suppress(NotConnected):
                        line.write_now(self.chip.stop)

    async def say(self, text: str, volume: float | None) -> str:
        """See `abilities.Loudspeaker.say`. One text at a time: others wait, and `stop` refuses those that wait too."""
        pieces = self._pieces(text)
        if not pieces:
            raise Refused("rejected", "the text has nothing to speak")
        percent = min(max(self._config.volume if volume is None else volume, 0.0), 100.0)
        stops = self._stops
        async with self._exchange:
            if self._stops != stops:
                raise Refused("silenced", "stopped before its turn")
            async with self._take_turn() as link:
                started = asyncio.get_running_loop().time()
                try:
                    # What it may speak from before must not pass for this text.
                    if await self._status(link) is Reply.SPEAKING:
                        await self._silence(link)
                    for piece in pieces:
                        await self._speak(link, piece, percent)
                except (asyncio.CancelledError, Refused):
                    link.post(self.chip.stop)
                    self._monitor.look_now()
                    raise
                finally:
                    self._monitor.set(busy=False)
                seconds = asyncio.get_running_loop().time() - started
        frames = "1 frame" if len(pieces) == 1 else f"{len(pieces)} frames"
        return f"chip accepted {frames}, busy {seconds:.1f} s, then idle"

    async def stop(self) -> None:
        """See `abilities.Loudspeaker.stop`. Returns when the chip confirmed that it is silent."""
        self._stops += 1
        if self._turn is not None:
            self._turn.end(Refused("silenced", "stopped while it was spoken"))
        async with self._exchange, self._take_turn() as link:
            await self._silence(link)

    def _pieces(self, text: str) -> list[Piece]:
        # A frame is on the line for half a second at most, so that a stop is not kept waiting behind it.
        limit = min(self.chip.max_text_bytes, self._baudrate // 20)
        room = limit - len(f"[v{self.chip.loudest}]".encode(self.chip.wide))
        pieces = split_text(clean_text(text), room, self.chip.wide)
        return [piece for piece in pieces if any(char.isalnum() for char in piece.text)]

    @asynccontextmanager
    async def _take_turn(self) -> AsyncIterator[ChipLink]:
        if self._link is None:
            raise NotConnected("line_closed", f"{self._config.port} is not open")
        self._turn = Turn()
        try:
            async with self._turn.held():
                yield self._link
        except NotConnected:
            self._monitor.look_now()
            raise
        finally:
            self._turn = None

    async def _silence(self, link: ChipLink) -> None:
        for _ in range(_ATTEMPTS):
            await link.ask(self.chip.stop, {Reply.ACCEPTED, Reply.REJECTED}, self.timing.answer)
            if await self._status(link) is Reply.IDLE:
                self._monitor.set(busy=False)
                return
        raise Refused("rejected", f"{self.chip.name} still speaks after {_ATTEMPTS} stop frames")

    async def _speak(self, link: ChipLink, piece: Piece, percent: float) -> None:
        """Speak one piece to its confirmed end."""
        # At each frame, because a chip that was reset meanwhile has forgotten it.
        mark = f"[v{round(percent * self.chip.loudest / 100)}]"
        frame = self.chip.say(mark + piece.text, piece.encoding)
        for _ in range(_ATTEMPTS):
            answer = await link.ask(frame, {Reply.ACCEPTED, Reply.REJECTED}, self.timing.answer)
            # Noise can hide or imitate an answer; sending again would cut off a chip that speaks.
            if answer is not Reply.ACCEPTED and await self._status(link) is Reply.IDLE:
                continue
            self._monitor.set(busy=True, volume=percent)
            if await self._spoken(link, len(piece.text)):
                return
        raise Refused(
            "rejected", f"{self.chip.name} did not accept a text frame of {len(frame)} bytes, {_ATTEMPTS} times"
        )

    async def _spoken(self, link: ChipLink, characters: int) -> bool:
        """Wait for the end of a text that the chip speaks; False if it turns out that it refused it."""
        now = asyncio.get_running_loop().time
        limit = now() + characters * self.timing.limit_per_character + self.timing.limit_slack
        due = now() + characters * self.timing.expected_per_character + self.timing.slack
        while True:
            said = await link.hear({Reply.IDLE, Reply.READY, Reply.REJECTED}, max(due - now(), 0))
            # Twice, because noise that imitates a reply comes in bursts.
            if await self._status(link) is Reply.IDLE and await self._status(link) is Reply.IDLE:
                if said is Reply.READY:
                    raise Refused("power_fault", f"{self.chip.name} restarted while it spoke")
                return said is not Reply.REJECTED
            if now() > limit:
                raise Refused(
                    "rejected", f"{self.chip.name} still reports busy after {characters} characters took too long"
                )
            if said is None:
                due = now() + self.timing.overdue_poll

    async def _status(self, link: ChipLink) -> Reply:
        """Ask whether the chip speaks; raises `NotConnected` if it does not answer."""
        for _ in range(_ATTEMPTS):
            status = await link.ask(self.chip.status, {Reply.SPEAKING, Reply.IDLE}, self.timing.answer)
            if status is not None:
                return status
        raise self._monitor.no_answer(self._config.port, _ATTEMPTS)

    async def _look(self, link: ChipLink) -> None:
        async with self._exchange:
            self._monitor.set(busy=await self._status(link) is Reply.SPEAKING)

    def _condition(self) -> tuple[Status, str, str]:
        return "ok", "works", f"{self.chip.name} answers the status query"
