"""Frames against captured bytes, and the splitter against anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import vectors
from village_drivers.osdp import frames
from village_drivers.osdp.frames import Frame, FrameSplitter, build_frame

VECTORS = [vector["frame"] for vector in vectors("osdp")]
POLL, ACK = VECTORS[0], VECTORS[1]


@pytest.mark.parametrize("raw", VECTORS, ids=[vector["name"] for vector in vectors("osdp")])
def test_captured_frames_are_found_and_rebuilt(raw: bytes) -> None:
    splitter = FrameSplitter()
    (frame,) = splitter.feed(raw)
    assert frame.raw == raw.lstrip(b"\xff")
    assert frame.address == 5
    assert frame.reply == bool(frame.raw[1] & 0x80)
    assert splitter.garbage == 0
    assert build_frame(5, frame.raw[4], frame.raw[5:-2], reply=frame.reply) == frame.raw
    assert frames.command_code(raw) == frame.code


def test_codes() -> None:
    found = [frame.code for raw in VECTORS for frame in FrameSplitter().feed(raw)]
    assert found[:4] == [frames.POLL, frames.ACK, frames.ID, frames.IDENTITY]


def test_a_checksum_serves_instead_of_a_crc() -> None:
    head = bytes([0x53, 0x85, 7, 0, 0, 0x40])
    frame = head + bytes([-sum(head) & 0xFF])
    assert [found.code for found in FrameSplitter().feed(frame)] == [frames.ACK]
    assert FrameSplitter().feed(head + b"\0") == []


def test_reasons_of_a_nak() -> None:
    (clear,) = FrameSplitter().feed(build_frame(1, 0, b"\x41\x06", reply=True))
    assert (clear.nak, clear.nak_reason) == (True, 6)
    (secured,) = FrameSplitter().feed(build_frame(1, 8, b"\x02\x18\x41\x99\x99\x99\x99\x99", reply=True))
    assert (secured.nak, secured.nak_reason, secured.secured) == (True, None, True)
    (bare,) = FrameSplitter().feed(build_frame(1, 0, b"\x41", reply=True))
    assert (bare.nak, bare.nak_reason) == (True, None)


def test_a_false_start_costs_no_frame() -> None:
    # 53 and a length of 32 swallow the frame until its check fails; then the frame is found inside.
    splitter = FrameSplitter()
    assert splitter.feed(b"\x53\x85\x20\x00\x04" + ACK) == []
    assert [frame.raw for frame in splitter.feed(ACK + ACK + ACK)] == [ACK] * 4
    assert splitter.garbage == 5


@given(st.lists(st.sampled_from(VECTORS) | st.binary(max_size=300)), st.integers(1, 50))
def test_any_bytes_in_any_pieces(parts: list[bytes], size: int) -> None:
    data = b"".join(parts)
    splitter = FrameSplitter()
    found: list[Frame] = []
    for start in range(0, len(data), size):
        found += splitter.feed(data[start : start + size])
        assert len(splitter._buffer) <= frames.MAX_FRAME
    splitter.reset()
    marks = len(data) - splitter.garbage - sum(len(frame.raw) for frame in found)
    assert 0 <= marks <= data.count(0xFF)
    whole = FrameSplitter()
    assert [frame.raw for frame in whole.feed(data)] == [frame.raw for frame in found]


@given(st.lists(st.sampled_from(VECTORS), max_size=20))
def test_frames_without_noise_are_all_found(parts: list[bytes]) -> None:
    assert [frame.raw for frame in FrameSplitter().feed(b"".join(parts))] == [part.lstrip(b"\xff") for part in parts]
