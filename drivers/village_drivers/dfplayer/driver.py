"""The driver `dfplayer`: recorded tracks with proof that they were played.

Copies of the chip differ: some report the end of a track, some report it twice, some never, and some acknowledge nothing. So
the status query decides whether a track plays; a report only lets it be asked sooner. The evidence says which of them spoke.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

from village_drivers.dfplayer import frames
from village_drivers.dfplayer.card import Card
from village_drivers.dfplayer.config import DfPlayerConfig, Timing
from village_drivers.dfplayer.frames import Code, Message, Playing
from village_drivers.dfplayer.link import BAUDRATE, BoardLink
from village_drivers.dfplayer.turn import PASSING, BoardTurn, refusal
from village_drivers.kit import Device, DriverConfig, NotConnected, Refused, Report, Services
from village_drivers.line_monitor import LineMonitor
from village_drivers.serial_line import SerialLine
from village_wire.states import Status

_ATTEMPTS = 3


class DfPlayer:
    """One board. Tracks are played one after the other."""

    Config: ClassVar[type[DriverConfig]] = DfPlayerConfig

    def __init__(self, config: DfPlayerConfig, _services: Services) -> None:
        self.timing = Timing()
        self._config = config
        self._link: BoardLink | None = None
        #: Held by the track that plays, or by whoever looks while none does.
        self._board = asyncio.Lock()
        self._turns: set[BoardTurn] = set()
        self._stops = 0
        self._unwanted = False
        self._card = Card(config.medium)
        self._last_end = (-1, -float("inf"))
        self._monitor = LineMonitor(config.id, config.volume, self._condition)

    def devices(self) -> Mapping[str, Device]:
        """The one board."""
        return {self._config.id: Device("loudspeaker", self, self._config.name)}

    async def run(self, report: Report) -> None:
        """See `kit.Driver.run`."""
        with SerialLine.open(self._config.port, BAUDRATE) as line:
            self._link = link = BoardLink(line, self._config.gap_seconds, self._told, self._monitor.heard_noise)
            self._card = Card(self._config.medium)
            self._monitor.begin(report, self.timing)
            # A program that was killed may have left it playing, and nobody asks for proof of that any more.
            self._unwanted = True
            failure = NotConnected("line_closed", f"{self._config.port}: the driver was stopped")
            try:
                await self._monitor.serve(reads=link.read(), watches=self._watch(link))
            except NotConnected as error:
                failure = error
                raise
            finally:
                self._link = None
                self._monitor.end()
                for turn in self._turns:
                    turn.end(NotConnected(failure.code, str(failure)))
                if self._turns or self._unwanted:
                    # Nobody will ask this board for proof any more, so it should not go on by itself.
                    with suppress(NotConnected):
                        link.post(Message(Code.STOP))

    async def play_track(self, folder: int, number: int, volume: float | None) -> str:
        """See `abilities.TrackPlayer`. One track at a time: others wait, and `stop` refuses those that wait too."""
        try:
            order = frames.play(folder, number)
        except ValueError as error:
            raise Refused("track_missing", str(error)) from None
        percent = min(max(self._config.volume if volume is None else volume, 0.0), 100.0)
        what, stops = f"track {number} of folder {folder or 'mp3'}", self._stops
        async with self._board:
            if self._stops != stops:
                raise Refused("silenced", "stopped before its turn")
            async with self._take_turn() as turn:
                try:
                    # What it plays from before must not pass for this track.
                    await self._silence(turn.link)
                    level = Message(Code.VOLUME, round(percent * frames.LOUDEST / 100))
                    # Where no acknowledgement comes, waiting for it would miss a short track.
                    known = await turn.link.order(level, self.timing.answer)
                    acknowledged = await self._begin(turn, order, self.timing.answer if known else 0.0, what)
                    began = asyncio.get_running_loop().time()
                    self._monitor.set(busy=True, volume=percent)
                    end = await self._until_end(turn, what)
                except (asyncio.CancelledError, Refused, NotConnected):
                    self._unwanted = True
                    self._monitor.look_now()
                    raise
                finally:
                    self._monitor.set(busy=False, volume=self._config.volume)
                seconds = asyncio.get_running_loop().time() - began
        return f"{what} {'acknowledged' if acknowledged else 'not acknowledged'}, played {seconds:.1f} s, {end}"

    async def stop(self) -> None:
        """See `abilities.TrackPlayer`. Returns when the board says that it is silent."""
        self._stops += 1
        for turn in self._turns:
            turn.end(Refused("silenced", "stopped while it was played"))
        async with self._board, self._take_turn() as turn:
            await self._silence(turn.link)

    @asynccontextmanager
    async def _take_turn(self) -> AsyncIterator[BoardTurn]:
        if self._link is None:
            raise NotConnected("line_closed", f"{self._config.port} is not open")
        turn = BoardTurn(self._link)
        self._turns.add(turn)
        try:
            async with turn.held():
                yield turn
        except NotConnected:
            self._monitor.look_now()
            raise
        finally:
            self._turns.discard(turn)

    async def _silence(self, link: BoardLink) -> None:
        # A paused board plays no other track until it is stopped.
        for _ in range(_ATTEMPTS):
            if await self._status(link) is Playing.STOPPED:
                self._unwanted = False
                return
            await link.order(Message(Code.STOP), self.timing.answer)
        raise Refused("rejected", f"the board still plays after {_ATTEMPTS} stop frames")

    async def _begin(self, turn: BoardTurn, order: Message, patience: float, what: str) -> bool:
        """Give the order until the board plays; return whether it acknowledged."""
        now = asyncio.get_running_loop().time
        for _ in range(_ATTEMPTS):
            turn.forget()
            answer = await turn.link.order(order, patience)
            limit = now() + self.timing.start
            while turn.fault is None and now() < limit:
                plays = await self._status(turn.link) is Playing.PLAYS
                if plays or turn.finished is not None:
                    self._card.works()
                    return answer is not None and answer.code == Code.ACCEPTED
                await turn.news(self.timing.settle)
            if turn.fault is not None and turn.fault not in PASSING:
                raise self._refusal(turn.fault, what)
            if turn.fault is None and answer is not None:
                raise Refused(self._card.code or "rejected", f"{what}: acknowledged, but the board does not play")
        if turn.fault is not None:
            raise self._refusal(turn.fault, what)
        raise Refused(self._card.code or "rejected", f"{what}: the board did not begin it, {_ATTEMPTS} times")

    async def _until_end(self, turn: BoardTurn, what: str) -> str:
        """Wait for the end of the track that plays; return how it was noticed."""
        now = asyncio.get_running_loop().time
        limit = now() + self.timing.limit
        suspected = False
        while True:
            if turn.fault is not None:
                raise self._refusal(turn.fault, what)
            if (status := await self._status(turn.link)) is not Playing.PLAYS:
                # The report of the end may be under way.
                await turn.news(self.timing.settle)
                if await self._status(turn.link) is status:
                    break
            if now() > limit:
                raise Refused("rejected", f"{what}: the board still reports that it plays")
            if suspected:
                # It still plays: what ended was another track.
                turn.finished = None
            suspected = turn.finished is not None
            await turn.news(self.timing.settle if suspected else self.timing.watch)
        if turn.fault is not None:
            raise self._refusal(turn.fault, what)
        if status is Playing.PAUSED:
            raise Refused("interrupted", f"{what}: somebody paused the board")
        return "end reported" if turn.finished is not None else "stopped by its status (this board reports no end)"

    def _refusal(self, fault: int, what: str) -> Refused:
        error = refusal(fault, what)
        if error.code == "card_failed":
            self._card.failed()
            self._monitor.judge()
        elif error.code == "track_missing" and self._card.code is not None:
            return Refused(self._card.code, str(error))
        return error

    async def _status(self, link: BoardLink) -> Playing:
        """Ask what the board does; raises `NotConnected` if it does not answer."""
        for _ in range(_ATTEMPTS):
            status = await link.query(Code.STATUS, self.timing.answer)
            if status is not None:
                # The high byte is the medium; values beyond 2 mean that it sleeps.
                low = status & 0xFF
                return Playing(low) if low <= Playing.PAUSED else Playing.STOPPED
            await asyncio.sleep(self.timing.settle)
        raise self._monitor.no_answer(self._config.port, _ATTEMPTS)

    async def _watch(self, link: BoardLink) -> None:
        """Query the status while nothing is played, count the card's files, and silence what nobody wants to hear."""
        if self._config.medium != "sd":
            await link.order(Message(Code.SOURCE, frames.SOURCES[self._config.medium]), self.timing.answer)
        await self._monitor.watch(lambda: self._look(link))

    async def _look(self, link: BoardLink) -> None:
        async with self._board:
            if self._unwanted:
                with suppress(Refused):
                    await self._silence(link)
            self._monitor.set(busy=await self._status(link) is Playing.PLAYS)
            # Counting stops a track on some boards, so it is not done more often than needed.
            if self._card.to_be_counted and not self._monitor.busy:
                answer = await link.ask(
                    Message(frames.FILES[self._config.medium]),
                    {frames.FILES[self._config.medium], Code.ERROR},
                    self.timing.answer,
                )
                self._card.counted(answer)

    def _told(self, message: Message) -> None:
        """Take in what the board says unasked."""
        if message.code == frames.FINISHED[self._config.medium]:
            now = asyncio.get_running_loop().time()
            known, self._last_end = self._last_end, (message.value, now)
            if message.value != known[0] or now - known[1] > self.timing.twice:
                for turn in self._turns:
                    turn.hear(finished=message.value)
        elif message.code == Code.ERROR:
            for turn in self._turns:
                turn.hear(fault=message.value)
        elif message.code in (Code.READY, Code.INSERTED, Code.REMOVED):
            self._card.heard(message)
            if message.code == Code.READY:
                self._end_turns(Refused("power_fault", "the board restarted while it played"))
            elif message.code == Code.REMOVED and self._card.code is not None:
                self._end_turns(Refused("card_missing", "the card was pulled out while it played"))
            self._monitor.judge()
            self._monitor.look_now()

    def _end_turns(self, error: Refused) -> None:
        if self._monitor.busy:
            for turn in self._turns:
                turn.end(error)

    def _condition(self) -> tuple[Status, str, str]:
        if self._card.code is not None:
            return "down", self._card.code, self._card.evidence
        return "ok", "works", f"the board answers the status query, {self._card.evidence}"
