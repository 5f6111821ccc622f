from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.peers import peer
from village_collector.live.ogg import BadStream, OpusReader, OpusWriter

FRAMES = st.lists(st.binary(max_size=600).map(lambda rest: b"\x48" + rest), max_size=130)


def speech(*options: str, seconds: float = 3.0) -> bytes:
    """Ogg Opus as the real encoder makes it."""
    command = [
        str(peer("ffmpeg")), "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}",
        "-ac", "1", "-ar", "48000", "-c:a", "libopus", "-b:a", "24k", "-frame_duration", "20", "-application", "voip",
        "-page_duration", "20000", *options, "-f", "ogg", "-",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, check=True).stdout


@given(FRAMES, st.data())
@settings(deadline=None)
def test_what_is_written_is_read_again_in_pieces_of_any_length(frames: list[bytes], data: st.DataObject) -> None:
    writer, reader = OpusWriter(7, 312, ("TITLE=防汛",)), OpusReader()
    written = writer.begin() + writer.add(frames) + writer.end()
    assert writer.seconds == pytest.approx(len(frames) * 0.02)
    read: list[bytes] = []
    while written:
        size = data.draw(st.integers(1, len(written)))
        read += reader.feed(written[:size])
        written = written[size:]
    assert read == frames
    assert reader.skip == 312


@given(st.binary(max_size=400))
def test_any_bytes_are_frames_or_refused(noise: bytes) -> None:
    reader = OpusReader()
    with contextlib.suppress(BadStream):
        reader.feed(OpusWriter(1, 0).begin())
        assert reader.feed(noise) == []


def test_the_real_encoders_stream_is_read_and_the_recording_of_it_plays(tmp_path: Path) -> None:
    reader, writer = OpusReader(), OpusWriter(1, 312)
    frames = reader.feed(speech())
    assert 150 <= len(frames) <= 152
    path = tmp_path / "recording.ogg"
    path.write_bytes(writer.begin() + writer.add(frames) + writer.end())
    probe = [str(peer("ffmpeg")).replace("ffmpeg", "ffprobe"), "-v", "error", "-show_format", "-of", "json", str(path)]
    assert float(json.loads(subprocess.run(probe, capture_output=True, check=True).stdout)["format"]["duration"]) == (
        pytest.approx(3.0, abs=0.05)
    )
    decoded = subprocess.run(
        [str(peer("ffmpeg")), "-loglevel", "error", "-xerror", "-i", str(path), "-f", "s16le", "-"],
        capture_output=True,
        check=True,
    )
    assert decoded.stderr == b""
    assert len(decoded.stdout) / 96_000 == pytest.approx(3.0, abs=0.05)


def test_a_recording_that_was_killed_plays_to_its_last_second(tmp_path: Path) -> None:
    writer = OpusWriter(1, 312)
    path = tmp_path / "recording.ogg"
    path.write_bytes(writer.begin() + writer.add(OpusReader().feed(speech())))
    decoded = subprocess.run(
        [str(peer("ffmpeg")), "-loglevel", "error", "-i", str(path), "-f", "s16le", "-"],
        capture_output=True,
        check=True,
    )
    assert len(decoded.stdout) / 96_000 >= 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-ac", "2"), "mono"),
        (("-frame_duration", "60"), "20 ms"),
        (("-frame_duration", "10", "-application", "audio"), "20 ms"),
    ],
)
def test_other_forms_are_refused_with_what_to_do(options: tuple[str, ...], reason: str) -> None:
    with pytest.raises(BadStream, match=reason):
        OpusReader().feed(speech(*options))


def test_a_damaged_page_a_second_stream_and_another_codec_are_refused() -> None:
    made = bytearray(speech())
    made[-1] ^= 1
    with pytest.raises(BadStream, match="damaged"):
        OpusReader().feed(bytes(made))
    reader = OpusReader()
    reader.feed(OpusWriter(1, 0).begin())
    with pytest.raises(BadStream, match="second stream"):
        reader.feed(OpusWriter(2, 0).begin())
    with pytest.raises(BadStream, match="no Ogg"):
        OpusReader().feed(b"RIFF" + bytes(40))
    flac = OpusWriter(1, 0)
    with pytest.raises(BadStream, match="not Opus"):
        OpusReader().feed(flac._page([b"\x7fFLAC" + bytes(20)], 2, 0))
