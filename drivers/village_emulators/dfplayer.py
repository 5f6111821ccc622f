"""An emulated DFPlayer Mini with a card.

    python -m village_emulators.dfplayer /tmp/device-end --speed 10 --fault no-finished

Written from the FN-M16P data sheet without the driver's frames, as a second reading of it. It takes faults on standard input too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from village_emulators.console import lines
from village_emulators.serial_device import SerialDevice, run_as_program

#: Folder -> number of the track -> its seconds.
CardContent = Mapping[str, Mapping[int, float]]

CARD: CardContent = {
    "01": {1: 6.0, 2: 12.0, 3: 30.0},
    "02": {1: 60.0, 300: 4.0},
    "mp3": {1: 4.0},
    "advert": {1: 3.0},
}
FAULTS = ("no-card", "no-finished", "finished-twice", "no-acknowledgement", "silent", "noise", "card-unreadable")
_SD = 2
_BAUDRATE = 9600
_MAX_LOG = 1000
#: A frame takes 10 ms; a pseudo-terminal on a busy machine takes longer.
_MAX_BYTE_GAP_S = 0.25
_NOISE_BYTES = 5


@dataclass(frozen=True, slots=True)
class Played:
    """One track as it left the loudspeaker."""

    folder: str
    number: int
    seconds: float
    volume: int
    complete: bool


@dataclass(slots=True)
class _Track:
    folder: str
    number: int
    volume: int
    rest: float
    heard: float = 0.0
    since: float | None = None

    def start(self, now: float) -> None:
        self.since = now

    def halt(self, now: float, speed: float) -> None:
        if self.since is not None:
            passed = min((now - self.since) * speed, self.rest)
            self.heard, self.rest, self.since = self.heard + passed, self.rest - passed, None

    def ends(self, speed: float) -> float | None:
        return None if self.since is None else self.since + self.rest / speed


def frame(command: int, value: int, feedback: int = 0) -> bytes:
    """Return a frame."""
    total = 0xFF + 6 + command + feedback + (value >> 8) + (value & 255)
    check = 0x10000 - total
    return bytes([0x7E, 0xFF, 6, command, feedback, value >> 8, value & 255, check >> 8 & 255, check & 255, 0xEF])


class DfPlayerEmulator(SerialDevice):
    """The board at the far end of a line."""

    def __init__(
        self,
        path: str,
        *,
        speed: float = 1.0,
        card: CardContent = CARD,
        faults: frozenset[str] = frozenset(),
        told: Callable[[Played], None] | None = None,
    ) -> None:
        super().__init__(path, _BAUDRATE)
        self._speed = speed
        self._card = card
        #: Faults to play, of `FAULTS`; may be changed while it runs.
        self.faults = set(faults)
        self.told = told
        #: Errors to answer the next orders with.
        self.errors: deque[int] = deque()
        self.volume = 30
        self.played: deque[Played] = deque(maxlen=_MAX_LOG)
        #: Commands that were heard and valid, with their values.
        self.heard: deque[tuple[int, int]] = deque(maxlen=_MAX_LOG)
        self._now: _Track | None = None
        self._under: _Track | None = None
        self._partial = bytearray()
        self._last_byte = 0.0

    @property
    def busy(self) -> bool:
        """The BUSY pin: whether a track sounds."""
        return self._now is not None and self._now.since is not None

    async def pull_card(self) -> None:
        """Pull the card out."""
        self.faults.add("no-card")
        self._cut(asyncio.get_running_loop().time())
        await self.say(frame(0x3B, _SD))

    async def insert_card(self) -> None:
        """Put the card in."""
        self.faults.discard("no-card")
        await self.say(frame(0x3A, _SD))

    async def restart(self) -> None:
        """Lose power for a moment."""
        self._cut(asyncio.get_running_loop().time())
        self._partial.clear()
        self.volume = 30
        await self.say(self.greeting())

    async def pause(self) -> None:
        """Press the button on the board."""
        self.hear(frame(0x0E, 0), asyncio.get_running_loop().time())

    def hear(self, data: bytes, now: float) -> bytes:
        """Take in what came on the line by `now` (seconds of any clock); return what the board says."""
        answers = self._advance(now)
        if self._partial and now - self._last_byte > _MAX_BYTE_GAP_S:
            self._partial.clear()
            answers += frame(0x40, 3)
        if data:
            self._last_byte = now
        for byte in data:
            if not self._partial and byte != 0x7E:
                continue
            self._partial.append(byte)
            if len(self._partial) in (2, 3) and byte != (0xFF, 6)[len(self._partial) - 2]:
                self._partial.clear()
            elif len(self._partial) == 10 or (len(self._partial) == 8 and byte == 0xEF):
                answers += self._take(bytes(self._partial), now)
                self._partial.clear()
        return answers

    def next_at(self) -> float | None:
        """Return when `hear` must be called even if nothing comes."""
        times = [self._last_byte + _MAX_BYTE_GAP_S * 1.01] if self._partial else []
        if self._now is not None and (ends := self._now.ends(self._speed)) is not None:
            times.append(ends)
        return min(times, default=None)

    def _take(self, data: bytes, now: float) -> bytes:
        command, feedback, value = data[3], data[4], data[5] << 8 | data[6]
        if data[-1] != 0xEF:
            return frame(0x40, 3)
        # The checksum may be left out.
        if len(data) == 10 and data != frame(command, value, feedback):
            return frame(0x40, 4)
        self.heard.append((command, value))
        accepted = frame(0x41, 0) if feedback and "no-acknowledgement" not in self.faults else b""
        if self.errors and command < 0x3A:
            return accepted + frame(0x40, self.errors.popleft())
        return accepted + self._obey(command, value, now)

    def _obey(self, command: int, value: int, now: float) -> bytes:
        match command:
            case 0x03:
                return self._play(*self._by_index(value), now)
            case 0x06:
                self.volume = min(value, 30)
            case 0x0D if self._now is not None:
                self._now.start(now)
            case 0x0E if self._now is not None:
                self._now.halt(now, self._speed)
            case 0x0C:
                self._cut(now)
                self.volume = 30
                return self.greeting()
            case 0x0F:
                return self._play(f"{value >> 8:02}", value & 255, now)
            case 0x12:
                return self._play("mp3", value, now)
            case 0x13:
                return self._interrupt(value, now)
            case 0x14:
                return self._play(f"{value >> 12:02}", value & 0xFFF, now)
            case 0x15:
                return self._end(now, complete=False) if self._under is not None else b""
            case 0x16:
                self._cut(now)
            case 0x3F:
                return self.greeting()
            case _:
                return self._query(command, value)
        return b""

    def _query(self, command: int, value: int) -> bytes:
        there = {} if "no-card" in self.faults else self._card
        match command:
            case 0x42:
                state = 0 if self._now is None else 1 if self.busy else 2
                return frame(0x42, _SD << 8 | state)
            case 0x43:
                return frame(0x43, self.volume)
            case 0x47:
                return frame(0x47, 0)
            case 0x48:
                return frame(0x48, sum(map(len, there.values())))
            case 0x4B | 0x4C:
                return frame(command, self._index(self._now) if self._now is not None and command == 0x4C else 0)
            case 0x4E:
                return frame(0x4E, len(there.get(f"{value:02}", {})))
            case 0x4F:
                return frame(0x4F, len(there))
            case _:
                return b""

    def _play(self, folder: str, number: int, now: float) -> bytes:
        seconds = self._card.get(folder, {}).get(number)
        if "no-card" in self.faults or seconds is None:
            return frame(0x40, 6)
        if "card-unreadable" in self.faults:
            return frame(0x40, 8)
        self._cut(now)
        self._now = _Track(folder, number, self.volume, seconds)
        self._now.start(now)
        return b""

    def _interrupt(self, number: int, now: float) -> bytes:
        seconds = self._card.get("advert", {}).get(number)
        if self._now is None or not self.busy or self._under is not None:
            return frame(0x40, 7)
        if seconds is None:
            return frame(0x40, 6)
        self._now.halt(now, self._speed)
        self._under, self._now = self._now, _Track("advert", number, self.volume, seconds)
        self._now.start(now)
        return b""

    def _advance(self, now: float) -> bytes:
        answers = b""
        while self._now is not None and (ends := self._now.ends(self._speed)) is not None and ends <= now:
            answers += self._end(ends, complete=True)
        return answers

    def _end(self, now: float, *, complete: bool) -> bytes:
        """End what sounds; the track under an interruption goes on."""
        ended, self._now, self._under = self._now, self._under, None
        if ended is None:
            return b""
        ended.halt(now, self._speed)
        if self._now is not None:
            self._now.start(now)
        played = Played(ended.folder, ended.number, round(ended.heard, 3), ended.volume, complete)
        self.played.append(played)
        if self.told is not None:
            self.told(played)
        if not complete or "no-finished" in self.faults:
            return b""
        return frame(0x3D, self._index(ended)) * (2 if "finished-twice" in self.faults else 1)

    def _cut(self, now: float) -> None:
        while self._now is not None:
            self._end(now, complete=False)

    def _index(self, track: _Track) -> int:
        places = [(folder, number) for folder, numbers in self._card.items() for number in numbers]
        return places.index((track.folder, track.number)) + 1

    def _by_index(self, index: int) -> tuple[str, int]:
        places = [(folder, number) for folder, numbers in self._card.items() for number in numbers]
        return places[index - 1] if 1 <= index <= len(places) else ("", 0)

    def greeting(self) -> bytes:
        """Tell that it is there, with or without a card."""
        return frame(0x3F, 0 if "no-card" in self.faults else _SD)

    async def say(self, answers: bytes) -> None:
        """Write to the line, unless a fault keeps it silent."""
        if answers and "silent" not in self.faults:
            noise = os.urandom(_NOISE_BYTES).replace(b"\x7e", b"\x7f") if "noise" in self.faults else b""
            await self._line.write(noise + answers)


async def _steer(board: DfPlayerEmulator) -> None:
    async for line in lines():
        match line.split():
            case ["card", "out"]:
                await board.pull_card()
            case ["card", "in"]:
                await board.insert_card()
            case ["restart"]:
                await board.restart()
            case ["pause"]:
                await board.pause()
            case ["normal"]:
                board.faults.clear()
            case [fault] if fault in FAULTS:
                board.faults.add(fault)
            case _:
                print(f"commands: card out, card in, restart, pause, normal, {', '.join(FAULTS)}", flush=True)
                continue
        print(line, flush=True)


def _print(played: Played) -> None:
    print(json.dumps({"event": "played"} | asdict(played)), flush=True)


def main() -> None:
    """Emulate a board until stopped; print a JSON line for each track that was played."""
    parser = argparse.ArgumentParser(description="Emulate a DFPlayer Mini. 模拟 DFPlayer Mini 播放模块。")
    parser.add_argument("port", help="serial device, e.g. /dev/pts/3. 串口设备。")
    parser.add_argument("--speed", type=float, default=1.0, help="times faster than life. 速度倍数。")
    parser.add_argument(
        "--fault", action="append", choices=FAULTS, default=[], help="what is wrong with it. 模拟故障。"
    )
    options = parser.parse_args()
    if options.speed <= 0:
        parser.error("--speed is above 0. 速度倍数必须大于 0。")
    board = DfPlayerEmulator(options.port, speed=options.speed, faults=frozenset(options.fault), told=_print)
    run_as_program(board, options.port, _steer(board))


if __name__ == "__main__":
    main()
