"""A live voice in the forms of other outputs, compared with what ffmpeg makes of the same sound."""

from __future__ import annotations

import math
import random
import struct
import subprocess
from array import array
from itertools import pairwise

import pytest

from tests.drivers.sound.conftest import rms
from tests.peers import peer
from village_drivers.sound.conversion import converter
from village_drivers.sound.pcm import CARD, MU_LAW, STEREO, Form

BLOCK = 1920


def _tone(hertz: float, seconds: float = 1.0, amplitude: float = 16000) -> bytes:
    count = int(48_000 * seconds)
    return struct.pack(
        f"<{count}h", *(round(amplitude * math.sin(2 * math.pi * hertz * n / 48_000)) for n in range(count))
    )


def _converted(samples: bytes, form: Form) -> bytes:
    convert = converter(form)
    return b"".join(convert(samples[at : at + BLOCK]) for at in range(0, len(samples), BLOCK))


def _decoded(codes: bytes) -> bytes:
    command = [
        str(peer("ffmpeg")),
        "-v",
        "error",
        "-f",
        "mulaw",
        "-ar",
        "8000",
        "-ac",
        "1",
        "-i",
        "-",
        "-f",
        "s16le",
        "-",
    ]
    return subprocess.run(command, input=codes, capture_output=True, check=True).stdout


def test_a_card_gets_it_as_it_is_and_two_channels_the_same_twice() -> None:
    noise = random.Random(1).randbytes(BLOCK)
    assert converter(CARD)(noise) == noise
    both = array("h", converter(STEREO)(noise))
    assert both[0::2] == both[1::2] == array("h", noise)
    assert [converter(form)(b"") for form in (CARD, STEREO, MU_LAW)] == [b"", b"", b""]
    with pytest.raises(ValueError, match="no live voice"):
        converter(Form("s24le", 48_000, 3))


@pytest.mark.parametrize("hertz", [300, 1000, 3000])
def test_speech_is_as_loud_on_the_telephone_line(hertz: float) -> None:
    tone = _tone(hertz)
    heard = _decoded(_converted(tone, MU_LAW))
    assert len(heard) == 2 * 8000
    assert rms(heard) == pytest.approx(rms(tone), rel=0.04)


@pytest.mark.parametrize("hertz", [4500, 5000, 9000, 15_000])
def test_what_it_can_t_carry_does_not_come_back_as_another_tone(hertz: float) -> None:
    assert rms(_decoded(_converted(_tone(hertz), MU_LAW))) < rms(_tone(hertz)) / 40


def test_blocks_join_without_a_click() -> None:
    heard = struct.unpack("<8000h", _decoded(_converted(_tone(440), MU_LAW)))
    # A sine of 440 Hz and 16000 rises by 5500 from one sample to the next at most; the steps of mu-law are 1024 there.
    assert max(abs(after - before) for before, after in pairwise(heard)) < 6600


def test_the_loudest_noise_is_no_trouble() -> None:
    rng = random.Random(2)
    square = struct.pack(f"<{BLOCK // 2}h", *(rng.choice((-32768, 32767)) for _ in range(BLOCK // 2)))
    assert len(_converted(square * 10, MU_LAW)) == 1600


@pytest.mark.parametrize("value", [0, 3, -4, 100, -100, 1000, -1000, 8031, -8031, 32767, -32768])
def test_its_codes_are_those_of_the_standard(value: int) -> None:
    steady = struct.pack("<h", value) * (BLOCK // 2)
    mine = _converted(steady * 2, MU_LAW)[-1:]
    decoded = struct.unpack("<h", _decoded(mine))[0]
    assert abs(decoded - value) <= max(4, abs(value) * 0.035)
