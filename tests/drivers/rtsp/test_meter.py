"""The packet log of ffmpeg 5.1 and 9.0, and whatever else might stand there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_drivers.rtsp.meter import Meter, Packet, parse_packet, parse_time_base

_KEY = b"0,      96000,      96000,     6000,    10763, 0xd67d7b1e\n"
_OTHER = b"0,     102000,     102000,     6000,     3657, 0x9679e37e, F=0x0\n"


def test_lines_of_the_log() -> None:
    assert parse_packet(_KEY) == Packet(96000, 10763, key=True)
    assert parse_packet(_OTHER) == Packet(102000, 3657, key=False)
    assert parse_packet(b"0, -6000, 0, 6000, 1, 0x00000001, F=0x3, S=1, 8, 0x1\n") == Packet(-6000, 1, key=True)
    assert parse_packet(b"1,      96000,      96000,     6000,    10763, 0xd67d7b1e\n") is None
    assert parse_packet(b"#dimensions 0: 320x240\n") is None
    assert parse_time_base(b"#tb 0: 1/90000\n") == pytest.approx(1 / 90000)
    assert parse_time_base(b"#tb 0: 1/0\n") is None


@given(line=st.binary(max_size=200) | st.from_regex(rb"0, *-?\d+, *\d+, *\d+, *\d+, 0x[0-9a-f]{8}.*", fullmatch=True))
def test_any_line_is_a_packet_or_none(line: bytes) -> None:
    meter = Meter(0.0)
    meter.line(line, 1.0)
    reading = meter.reading(2.0)
    assert reading["packets_per_s"] >= 0
    assert (parse_packet(line) is None) == ("packet_age_s" not in reading)


def _lines(count: int, step: int = 9000, first: int = 0) -> list[bytes]:
    return [
        f"0, {first + n * step}, {first + n * step}, {step}, 1000, 0x00000000{'' if n % 10 == 0 else ', F=0x0'}\n".encode()
        for n in range(count)
    ]


def test_rates_of_a_steady_stream() -> None:
    meter = Meter(0.0)
    meter.line(b"#tb 0: 1/90000\n", 1.0)
    for n, line in enumerate(_lines(50)):
        meter.line(line, 1.0 + n * 0.1)
    reading = meter.reading(6.0)
    assert reading["packets_per_s"] == pytest.approx(10)
    assert reading["key_frames_per_min"] == pytest.approx(60)
    assert reading["bits_per_s"] == pytest.approx(80_000)
    assert reading["packet_age_s"] == pytest.approx(0.1)
    assert reading["key_frame_age_s"] == pytest.approx(1.0)


def test_packets_held_back_at_the_start_do_not_count_as_a_flood() -> None:
    meter = Meter(0.0)
    meter.line(b"#tb 0: 1/90000\n", 5.0)
    for n, line in enumerate(_lines(60)):
        meter.line(line, max(5.0, n * 0.1))
    assert meter.reading(6.0)["packets_per_s"] == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("step", [0, -9000, 10**12])
def test_a_broken_clock_in_the_camera_does_not_break_the_rate(step: int) -> None:
    meter = Meter(0.0)
    meter.line(b"#tb 0: 1/90000\n", 0.5)
    for n, line in enumerate(_lines(50, step)):
        meter.line(line, 0.5 + n * 0.1)
    assert meter.reading(5.5)["packets_per_s"] == pytest.approx(10, rel=0.15)


def test_a_window_counts_anew_but_ages_go_on() -> None:
    meter = Meter(0.0)
    meter.line(_KEY, 1.0)
    meter.next_window(10.0)
    meter.line(_OTHER, 11.0)
    reading = meter.reading(20.0)
    assert reading["key_frames_per_min"] == 0
    assert reading["key_frame_age_s"] == 19.0
    assert reading["packet_age_s"] == 9.0
