"""What counts as the speaker's word; whoever owns the broker tries to put words into their mouth."""

from __future__ import annotations

import base64
from dataclasses import replace
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.agent.loudspeaker.live.kit import KEY, STREAM, TOPIC, VOICE, Clock, expecting, message
from village_agent.loudspeaker.live.jitter import JitterBuffer
from village_agent.loudspeaker.live.voices import FIRST_SECONDS, MAX_VOICES, Voices
from village_wire.broadcasts import Voice
from village_wire.incoming import Received
from village_wire.live import Packet

FIRST = Packet(0, 60, (b"a", b"b", b"c"))


def heard(buffer: JitterBuffer, clock: Clock) -> list[bytes]:
    frames: list[bytes] = []
    for _ in range(40):
        clock.seconds += 0.02
        frames += buffer.take(clock.seconds).frames
    return frames


def test_the_speaker_is_heard_by_all_who_listen() -> None:
    clock = Clock()
    voices, voice = expecting(clock)
    one, other = voice.listen(), voice.listen()
    assert voices.on_message(message(FIRST))
    assert heard(one, clock) == [b"a", b"b", b"c"]
    clock.seconds -= 0.8
    assert heard(other, clock) == [b"a", b"b", b"c"]
    assert (voice.received, voice.forged, voice.stale) == (1, 0, 0)


def test_a_broker_in_wrong_hands_cannot_speak() -> None:
    """It reads the command with the stream's public key and every packet, and may send whatever it likes whenever it likes."""
    clock = Clock()
    voices, voice = expecting(clock)
    buffer = voice.listen()
    genuine = message(FIRST)
    attempts = [
        message(FIRST, key=Ed25519PrivateKey.generate()),
        # The key that it reads in the command, taken for a secret one.
        message(FIRST, key=Ed25519PrivateKey.from_private_bytes(base64.b64decode(VOICE.key))),
        # A genuine packet of another stream.
        message(FIRST, stream=UUID(int=1)),
        replace_payload(genuine, genuine.payload[:-1]),
        replace_payload(genuine, genuine.payload + b"x"),
        replace_payload(genuine, bytes([genuine.payload[0]]) + b"\x01" + genuine.payload[2:]),
        replace_payload(genuine, genuine.payload[:-64] + bytes(64)),
        replace_payload(genuine, b""),
        # Other words with the signature of the true ones.
        replace_payload(
            genuine, message(replace(FIRST, frames=(b"x", b"y", b"z"))).payload[:-64] + genuine.payload[-64:]
        ),
    ]
    for attempt in attempts:
        assert voices.on_message(attempt)
    assert voice.forged == len(attempts)
    assert heard(buffer, clock) == []
    assert not buffer.begun


def test_a_broker_cannot_repeat_retain_reorder_or_hold_back_what_was_said() -> None:
    clock = Clock()
    voices, voice = expecting(clock)
    buffer = voice.listen()
    second = Packet(3, 120, (b"d", b"e", b"f"))
    voices.on_message(message(second))
    for _ in range(3):
        voices.on_message(message(FIRST))
    assert heard(buffer, clock) == [b"a", b"b", b"c", b"d", b"e", b"f"]
    voices.on_message(message(FIRST))
    voices.on_message(message(Packet(6, 180, (b"g",)), retained=True))
    clock.seconds += 15
    voices.on_message(message(Packet(7, 240, (b"h",))))
    assert heard(buffer, clock) == []
    assert voice.stale == 1


def test_a_clock_that_is_some_seconds_off_is_no_reason_to_be_silent() -> None:
    for ahead in (-30.0, 5.0):
        clock = Clock()
        clock.ahead = ahead
        voices, voice = expecting(clock)
        buffer = voice.listen()
        voices.on_message(message(FIRST))
        assert heard(buffer, clock) == [b"a", b"b", b"c"]


def test_a_voice_that_nobody_announced_is_not_looked_at() -> None:
    clock = Clock()
    voices, voice = expecting(clock)
    assert voices.on_message(Received(TOPIC.replace(str(STREAM), str(UUID(int=3))), b"x", retained=False))
    assert not voices.on_message(Received("village/1/area/330110101205/command", b"x", retained=False))
    assert not voices.on_message(Received("village/1/area/1/live/x", b"x", retained=False))
    voices.close(STREAM)
    voices.on_message(message(FIRST))
    assert voice.received == 0


def test_a_voice_ends_by_its_own_word_by_silence_or_never_begins() -> None:
    clock = Clock()
    voices, voice = expecting(clock)
    assert voice.silent(clock.seconds) == ""
    assert "no voice came" in voice.silent(clock.seconds + FIRST_SECONDS + 1)
    voices.on_message(message(FIRST))
    assert voice.silent(clock.seconds + 1.9) == ""
    assert "broke off" in voice.silent(clock.seconds + 2.1)
    voices.on_message(message(Packet(3, 120, end=True)))
    assert voice.silent(clock.seconds + 60) == ""
    assert voice.listen().take(clock.seconds).kind == "end"


def test_only_so_many_are_expected_and_the_same_one_is_one() -> None:
    clock = Clock()
    voices, voice = expecting(clock)
    assert voices.open(VOICE) is voice
    for number in range(MAX_VOICES - 1):
        voices.open(VOICE.model_copy(update={"stream": UUID(int=number)}))
    with pytest.raises(ValueError, match="expected already"):
        voices.open(VOICE.model_copy(update={"stream": UUID(int=99)}))


def replace_payload(message: Received, payload: bytes) -> Received:
    return message._replace(payload=payload)


def test_the_key_of_a_command_is_public() -> None:
    public = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
    assert Voice(stream=STREAM, key=public) == VOICE
    assert isinstance(Voices(lambda: 0).open(VOICE).key, type(KEY.public_key()))
