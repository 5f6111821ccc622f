"""Real Opus, decoded by the real library."""

from __future__ import annotations

import contextlib
import itertools
import random
import struct
from collections.abc import Iterator

import pytest

from tests.agent.loudspeaker.live.kit import Clock, expecting, message, packets, tone
from tests.drivers.sound.conftest import rms
from village_agent.loudspeaker.live.listening import Listening
from village_agent.loudspeaker.live.opus import Decoder, InvalidFrame, blend
from village_wire.live import FRAMES_PER_PACKET, Packet

#: A 440 Hz sine of ffmpeg's has an amplitude of one eighth.
LOUD = 0.125 / 2**0.5


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    made = Decoder()
    yield made
    made.close()


def test_frames_are_decoded_louder_or_softer(decoder: Decoder) -> None:
    sound = b"".join(map(decoder.decode, tone()))
    assert len(sound) == 1920 * len(tone())
    assert rms(sound[48_000:96_000]) == pytest.approx(LOUD, rel=0.1)
    decoder.set_gain(0.5)
    assert rms(b"".join(map(decoder.decode, tone()))[48_000:96_000]) == pytest.approx(LOUD / 2, rel=0.1)
    decoder.set_gain(0)
    assert rms(b"".join(map(decoder.decode, tone()))[48_000:96_000]) == pytest.approx(0, abs=1e-4)


def test_a_missing_frame_is_continued_and_a_long_gap_is_silent(decoder: Decoder) -> None:
    for frame in tone()[:50]:
        decoder.decode(frame)
    filled = [decoder.conceal() for _ in range(10)]
    assert rms(filled[0]) > LOUD / 2
    assert rms(filled[-1]) == 0


def test_what_is_no_opus_is_refused_without_harm(decoder: Decoder) -> None:
    with pytest.raises(InvalidFrame):
        decoder.decode(b"\xff" * 100)
    for size in range(1, 400, 7):
        with contextlib.suppress(InvalidFrame):
            assert len(decoder.decode(random.Random(size).randbytes(size))) == 1920
    assert len(decoder.decode(tone()[5])) == 1920


def test_two_frames_become_one_without_a_step() -> None:
    first, second = struct.pack("<960h", *[1000] * 960), struct.pack("<960h", *[3000] * 960)
    samples = struct.unpack("<960h", blend(first, second))
    assert samples[0] == 1000
    assert samples[-1] > 2990
    assert all(0 <= b - a <= 3 for a, b in itertools.pairwise(samples))


def listen(clock: Clock, lost: frozenset[int] = frozenset(), cut: int | None = None) -> tuple[Listening, bytes]:
    """Let a loudspeaker hear a tone of 2 s that comes packet by packet."""
    voices, voice = expecting(clock)
    listening = Listening(voice, clock.monotonic)
    waiting = [(clock.seconds + packet.sent / 1000, packet) for packet in packets(tone())]
    waiting = [item for number, item in enumerate(waiting) if number not in lost and (cut is None or number < cut)]
    if cut is None:
        waiting.append((waiting[-1][0] + 0.02, Packet(len(tone()), 2100, end=True)))
    sound = b""
    while block := listening.read(1.0):
        sound += block
        clock.seconds += 0.02
        while waiting and waiting[0][0] <= clock.seconds:
            voices.on_message(message(waiting.pop(0)[1]))
    listening.close()
    return listening, sound


def test_a_voice_is_heard_whole() -> None:
    listening, sound = listen(Clock())
    assert listening.before == pytest.approx(0.2, abs=0.08)
    assert listening.heard_seconds == pytest.approx(len(tone()) * 0.02)
    assert rms(sound[int(0.5 * 96_000) : int(1.9 * 96_000)]) == pytest.approx(LOUD, rel=0.05)
    assert "lost" not in listening.evidence
    assert listening.problem == ""
    assert listening.evidence.startswith("2.0")


def test_lost_packets_are_told_and_filled() -> None:
    listening, sound = listen(Clock(), lost=frozenset({10, 20}))
    assert f"{2 * FRAMES_PER_PACKET * 0.02:.2f} s lost" in listening.evidence
    quiet = [n for n in range(int(0.5 * 96_000), int(1.9 * 96_000), 1920) if rms(sound[n : n + 1920]) < LOUD / 8]
    assert not quiet


def test_who_breaks_off_is_heard_to_the_last_word_and_silence_follows() -> None:
    listening, sound = listen(Clock(), cut=10)
    assert listening.heard_seconds == pytest.approx(0.6)
    assert "broke off" in listening.problem
    assert "broke off" in listening.evidence
    assert len(sound) / 96_000 == pytest.approx(0.6 + 2.0 + 0.2, abs=0.2)
    assert rms(sound[-96_000:]) == 0
