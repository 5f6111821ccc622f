"""The frames against the data sheet, its errata included, and the reader against whatever comes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import vectors
from village_drivers.dfplayer.frames import Code, FrameReader, Message, encode, play

ERRATA = yaml.safe_load((Path(__file__).parents[2] / "vectors" / "dfplayer.yaml").read_text())[
    "errata_printed_in_datasheet"
]
messages = st.builds(Message, st.integers(0, 255), st.integers(0, 0xFFFF), st.booleans())


def _name(vector: dict[str, Any]) -> str:
    return f"{vector['name']} {vector['param']}"


@pytest.mark.parametrize("vector", vectors("dfplayer"), ids=_name)
def test_every_frame_of_the_data_sheet(vector: dict[str, Any]) -> None:
    feedback = "ACK requested" in vector["name"]
    message = Message(int(str(vector["cmd"]), 16), vector["param"], feedback)
    assert encode(message) == vector["frame"]
    assert FrameReader().feed(vector["frame"]) == ([message], 0)


@pytest.mark.parametrize("vector", ERRATA, ids=_name)
def test_what_the_data_sheet_misprints_is_no_frame(vector: dict[str, Any]) -> None:
    message = Message(int(str(vector["cmd"]), 16), vector["param"])
    assert encode(message) == bytes.fromhex(vector["correct"])
    assert FrameReader().feed(bytes.fromhex(vector["frame"])) == ([], 10)


def test_tracks_are_addressed_as_in_the_data_sheet() -> None:
    assert play(1, 1) == Message(Code.FOLDER_TRACK, 257)
    assert play(99, 255) == Message(Code.FOLDER_TRACK, 0x63FF)
    assert play(0, 3000) == Message(Code.MP3_TRACK, 3000)
    assert play(12, 1999) == Message(Code.WIDE_FOLDER_TRACK, 51151)


@pytest.mark.parametrize(
    ("folder", "number"), [(1, 0), (0, 0), (0, 10_000), (16, 256), (15, 3001), (100, 1), (-1, 1), (1, -1)]
)
def test_a_track_that_no_card_holds(folder: int, number: int) -> None:
    with pytest.raises(ValueError, match=r"no card has|from 1"):
        play(folder, number)


@given(st.lists(messages, max_size=5), st.lists(st.integers(0, 60), max_size=5))
def test_frames_come_out_however_the_line_divides_them(sent: list[Message], cuts: list[int]) -> None:
    data, reader, found = b"".join(map(encode, sent)), FrameReader(), []
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for begin, end in pairwise(edges):
        got, strangers = reader.feed(data[begin:end])
        assert strangers == 0
        found += got
    assert found == sent


@given(st.binary(max_size=60), messages)
def test_a_frame_is_found_after_any_noise(noise: bytes, message: Message) -> None:
    reader = FrameReader()
    first, strangers = reader.feed(noise)
    second, more = reader.feed(encode(message))
    # Noise that ends like the beginning of a frame hides nothing: the frame's own start is looked for within it.
    assert second[-1:] == [message]
    assert strangers + more + 10 * len(first + second) == len(noise) + 10


@given(st.binary(max_size=400), st.integers(0, 400))
def test_every_byte_is_counted_once_and_little_is_kept(data: bytes, cut: int) -> None:
    reader = FrameReader()
    first, strange = reader.feed(data[:cut])
    second, more = reader.feed(data[cut:])
    assert 0 <= len(data) - strange - more - 10 * len(first + second) < 10
    assert FrameReader().feed(data) == (first + second, strange + more)


@given(messages, st.integers(0, 79))
def test_every_flipped_bit_is_noticed(message: Message, bit: int) -> None:
    broken = bytearray(encode(message))
    broken[bit // 8] ^= 1 << bit % 8
    assert FrameReader().feed(bytes(broken))[0] == []
