"""The growing WAV file, judged by Python's own reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.drivers.sound.conftest import read_wav
from village_drivers.kit import Misconfigured, NotConnected
from village_drivers.sound import wav_file
from village_drivers.sound.wav_file import WavFile


def test_what_is_appended_is_read_back_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "horn.wav"
    for samples in (b"\x01\x02" * 1000, b"\x03\x04" * 500):
        file = WavFile(path)
        file.append(samples)
        file.close()
    assert read_wav(path) == b"\x01\x02" * 1000 + b"\x03\x04" * 500


def test_appending_after_the_end_is_dropped(tmp_path: Path) -> None:
    file = WavFile(tmp_path / "horn.wav")
    file.close()
    file.append(b"\x01\x02")
    assert read_wav(tmp_path / "horn.wav") == b""


def test_a_killed_writer_leaves_a_readable_file_that_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "horn.wav"
    script = (
        "import sys, pathlib\n"
        "from village_drivers.sound.wav_file import WavFile\n"
        "file = WavFile(pathlib.Path(sys.argv[1]))\n"
        "file.append(bytes(96_001))\n"
        "print('written', flush=True)\n"
        "sys.stdin.read()\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert len(read_wav(path)) == 96_000
    file = WavFile(path)
    file.append(b"\x01\x02")
    file.close()
    assert read_wav(path) == bytes(96_000) + b"\x01\x02"


@pytest.mark.parametrize("content", [b"precious", b"RIFF" + bytes(60), b"x" * 5000])
def test_a_file_of_somebody_else_is_not_touched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(content)
    with pytest.raises(Misconfigured, match="name another file"):
        WavFile(path)
    assert path.read_bytes() == content


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(min_size=1, max_size=100))
def test_whatever_stands_there_raises_only_its_own_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.wav"
    path.write_bytes(content)
    try:
        WavFile(path).close()
    except Misconfigured:
        assert path.read_bytes() == content


def test_a_full_file_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wav_file, "MAX_BYTES", 100)
    for samples in (bytes(200), b"\x01\x02"):
        file = WavFile(tmp_path / "horn.wav")
        file.append(samples)
        file.close()
    assert read_wav(tmp_path / "horn.wav") == b"\x01\x02"
    assert read_wav(tmp_path / "horn.wav.old") == bytes(200)


def test_a_missing_folder_and_a_full_disk_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotConnected, match="No such file"):
        WavFile(tmp_path / "nowhere" / "horn.wav")
    with pytest.raises(NotConnected, match="No space left"):
        WavFile(Path("/dev/full"))


def test_the_header_is_what_the_standard_reader_expects(tmp_path: Path) -> None:
    (tmp_path / "horn.wav").write_bytes(wav_file.header(4) + b"\x01\x02\x03\x04")
    with wave.open(str(tmp_path / "horn.wav")) as file:
        assert file.getnframes() == 2
