"""What the emulated speech chips share. Written from the data sheets, without the drivers' frames, as a second reading of them."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import ClassVar

from village_emulators import serial_device
from village_emulators.serial_device import SerialDevice

READY, ACCEPTED, REJECTED, SPEAKING, IDLE = b"\x4a", b"\x41", b"\x45", b"\x4e", b"\x4f"

#: Chinese is spoken at four to five characters a second.
SECONDS_PER_CHARACTER = 0.2
#: The SYN6288 allows 8 ms between two bytes; a pseudo-terminal on a busy machine can't keep that.
_MAX_BYTE_GAP_S = 0.25
#: More than a demo or a test speaks; older ones are forgotten.
_MAX_LOG = 1000
_MARK = re.compile(r"\[([a-z])(\d*)\]")


@dataclass(frozen=True, slots=True)
class Spoken:
    """One text as it left the loudspeaker: how long it sounded, at which level, and whether it came to its end."""

    text: str
    seconds: float
    volume: int
    complete: bool


@dataclass(slots=True)
class _Speech:
    text: str
    volume: int
    started: float
    ends: float
    paused_at: float | None = None


class SpeechChipEmulator(SerialDevice):
    """A chip at the far end of a line. Subclasses know the frames."""

    #: Level after power-up and after the mark `[d]`.
    default_volume: ClassVar[int]
    max_volume: ClassVar[int]
    default_baudrate: ClassVar[int] = 9600

    def __init__(
        self,
        path: str,
        *,
        speed: float = 1.0,
        baudrate: int | None = None,
        told: Callable[[Spoken], None] | None = None,
    ) -> None:
        super().__init__(path, self.default_baudrate if baudrate is None else baudrate)
        self._speed = speed
        #: Hears of every text as it ends.
        self.told = told
        self.volume = self.default_volume
        #: What was spoken, oldest first.
        self.spoken: deque[Spoken] = deque(maxlen=_MAX_LOG)
        #: Frames that were heard and valid, oldest first.
        self.frames: deque[bytes] = deque(maxlen=_MAX_LOG)
        #: Faults to play: answers nothing; rejects so many texts; tells the end of a text only when asked.
        self.deaf = False
        self.reject = 0
        self.loses_idle = False
        self._speech: _Speech | None = None
        self._partial = bytearray()
        self._last_byte = 0.0

    def hear(self, data: bytes, now: float) -> bytes:
        """Take in what came on the line by `now` (seconds of any clock); return what the chip answers."""
        answers = self._end_of_speech(now)
        if self._partial and now - self._last_byte > _MAX_BYTE_GAP_S:
            self._partial.clear()
            answers += REJECTED
        if data:
            self._last_byte = now
        for byte in data:
            if not self._partial and byte != 0xFD:
                continue
            self._partial.append(byte)
            # A length of two bytes bounds a frame, and this buffer, to 64 KiB.
            if len(self._partial) >= 3 and len(self._partial) - 3 >= int.from_bytes(self._partial[1:3], "big"):
                frame = bytes(self._partial)
                self._partial.clear()
                content = self._content(frame)
                if content:
                    self.frames.append(frame)
                answers += self._obey(content[0], content[1:], now) if content else REJECTED
        return answers

    def next_at(self) -> float | None:
        """Return when `hear` must be called even if nothing comes."""
        times = [self._last_byte + _MAX_BYTE_GAP_S * 1.01] if self._partial else []
        if self._speech is not None and self._speech.paused_at is None:
            times.append(self._speech.ends)
        return min(times, default=None)

    @property
    def busy(self) -> bool:
        """Whether a text is being spoken."""
        return self._speech is not None

    async def restart(self) -> None:
        """Lose power for a moment."""
        self._cut(asyncio.get_running_loop().time())
        self._partial.clear()
        self.volume = self.default_volume
        await self._line.write(READY)

    @abstractmethod
    def _content(self, frame: bytes) -> bytes | None:
        """Return command, parameters and text of a whole frame, or None if it is wrong."""

    @abstractmethod
    def _obey(self, command: int, rest: bytes, now: float) -> bytes:
        """Act on a command; return the answer."""

    def _speak(self, text: str, now: float) -> bytes:
        if self.reject > 0:
            self.reject -= 1
            return REJECTED
        self._cut(now)
        # Executed wherever they stand, so that a mark that slipped in shows.
        for mark, value in _MARK.findall(text):
            if mark == "v" and value and int(value) <= self.max_volume:
                self.volume = int(value)
            elif mark == "d":
                self.volume = self.default_volume
        sounding = _MARK.sub("", text)
        seconds = len(sounding) * SECONDS_PER_CHARACTER / self._speed
        self._speech = _Speech(sounding, self.volume, now, now + seconds)
        return ACCEPTED

    def _status(self) -> bytes:
        return IDLE if self._speech is None else SPEAKING

    def _pause(self, now: float) -> bytes:
        if self._speech is not None and self._speech.paused_at is None:
            self._speech.paused_at = now
        return ACCEPTED

    def _resume(self, now: float) -> bytes:
        if self._speech is not None and self._speech.paused_at is not None:
            self._speech.ends += now - self._speech.paused_at
            self._speech.paused_at = None
        return ACCEPTED

    def _cut(self, now: float) -> bool:
        """End what is spoken; return whether something was."""
        if self._speech is None:
            return False
        self._log(self._speech, now, complete=False)
        return True

    def _end_of_speech(self, now: float) -> bytes:
        speech = self._speech
        if speech is None or speech.paused_at is not None or now < speech.ends:
            return b""
        self._log(speech, speech.ends, complete=True)
        return b"" if self.loses_idle else IDLE

    def _log(self, speech: _Speech, ended: float, *, complete: bool) -> None:
        self._speech = None
        if speech.text:
            spoken = Spoken(speech.text, round(ended - speech.started, 3), speech.volume, complete)
            self.spoken.append(spoken)
            if self.told is not None:
                self.told(spoken)

    def greeting(self) -> bytes:
        """Tell that it is ready."""
        return READY

    async def say(self, answer: bytes) -> None:
        """Write to the line, unless it is deaf."""
        if not self.deaf:
            await super().say(answer)


def _print(spoken: Spoken) -> None:
    print(json.dumps({"event": "spoken"} | asdict(spoken), ensure_ascii=False), flush=True)


def run_as_program(emulator: type[SpeechChipEmulator], name: str) -> None:
    """Emulate a chip until stopped; print a JSON line for each text that was spoken."""
    parser = argparse.ArgumentParser(description=f"Emulate the speech chip {name}. 模拟语音芯片 {name}。")
    parser.add_argument("port", help="serial device, e.g. /dev/pts/3. 串口设备。")
    parser.add_argument("--speed", type=float, default=1.0, help="times faster than life. 语速倍数。")
    parser.add_argument("--baudrate", type=int, default=emulator.default_baudrate, help="baud rate. 波特率。")
    options = parser.parse_args()
    if options.speed <= 0:
        parser.error("--speed is above 0. 语速倍数必须大于 0。")
    chip = emulator(options.port, speed=options.speed, baudrate=options.baudrate, told=_print)
    serial_device.run_as_program(chip, options.port)
