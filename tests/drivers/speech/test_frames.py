"""The frames of both chips against the vendors' data sheets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import spoken_text, vectors
from village_drivers.speech import syn6288_frames, xfs5152_frames
from village_drivers.speech.replies import Reply, read_replies

SYN6288_COMMANDS = {
    "baud 9600": syn6288_frames.set_baudrate(9600),
    "baud 19200": syn6288_frames.set_baudrate(19200),
    "baud 38400": syn6288_frames.set_baudrate(38400),
    "stop": syn6288_frames.STOP,
    "pause": syn6288_frames.PAUSE,
    "resume": syn6288_frames.RESUME,
    "status query": syn6288_frames.STATUS,
    "power down": syn6288_frames.POWER_DOWN,
}
XFS5152_COMMANDS = {
    "stop": xfs5152_frames.STOP,
    "pause": xfs5152_frames.PAUSE,
    "resume": xfs5152_frames.RESUME,
    "status query": xfs5152_frames.STATUS,
    "power save": xfs5152_frames.POWER_SAVE,
    "wake": xfs5152_frames.WAKE,
}


def name(vector: dict[str, Any]) -> str:
    return str(vector["name"])


@pytest.mark.parametrize("vector", vectors("syn6288"), ids=name)
def test_syn6288(vector: dict[str, Any]) -> None:
    if "text" in vector:
        made = syn6288_frames.say(spoken_text(vector), vector["encoding"], vector["music"])
    else:
        made = SYN6288_COMMANDS[vector["name"]]
    assert made.hex(" ") == vector["frame"].hex(" ")


@pytest.mark.parametrize("vector", vectors("xfs5152"), ids=name)
def test_xfs5152(vector: dict[str, Any]) -> None:
    if "text" in vector:
        made = xfs5152_frames.say(spoken_text(vector), vector["encoding"])
    else:
        made = XFS5152_COMMANDS[vector["name"]]
    assert made.hex(" ") == vector["frame"].hex(" ")


def test_too_long_texts_are_refused() -> None:
    assert len(syn6288_frames.say("x" * 200, "gbk")) == 206
    with pytest.raises(ValueError, match="201 bytes"):
        syn6288_frames.say("x" * 201, "gbk")
    assert len(xfs5152_frames.say("x" * 4096, "gbk")) == 4096 + 5
    with pytest.raises(ValueError, match="4097 bytes"):
        xfs5152_frames.say("x" * 4097, "gbk")


def test_what_the_chips_lack_is_refused() -> None:
    with pytest.raises(ValueError, match="utf-16-le"):
        syn6288_frames.say("x", "utf-16-le")
    with pytest.raises(ValueError, match="utf-16-be"):
        xfs5152_frames.say("x", "utf-16-be")
    with pytest.raises(ValueError, match="music"):
        syn6288_frames.say("x", "gbk", 16)
    with pytest.raises(ValueError, match="57600"):
        syn6288_frames.set_baudrate(57600)
    with pytest.raises(ValueError, match="encode"):
        syn6288_frames.say("𠀀", "gbk")


@given(st.binary(max_size=4096))
def test_whatever_comes_is_replies_and_noise(data: bytes) -> None:
    replies, noise = read_replies(data)
    assert bytes(replies) == bytes(byte for byte in data if byte in set(Reply))
    assert len(replies) + noise == len(data)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_where_the_line_divides_the_bytes_does_not_matter(data: bytes, at: int) -> None:
    first, second = read_replies(data[:at]), read_replies(data[at:])
    assert read_replies(data) == (first[0] + second[0], first[1] + second[1])
