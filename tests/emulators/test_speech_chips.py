"""The emulated speech chips against the same vectors as the drivers, and against bytes that no driver sends."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import spoken_text, vectors
from village_drivers.kit import NotConnected
from village_drivers.serial_line import SerialLine
from village_emulators.line import Cable
from village_emulators.speech_chip import SpeechChipEmulator
from village_emulators.syn6288 import Syn6288Emulator
from village_emulators.xfs5152 import Xfs5152Emulator

CHIPS: dict[str, type[SpeechChipEmulator]] = {"syn6288": Syn6288Emulator, "xfs5152": Xfs5152Emulator}
ALL = [pytest.param(device, vector, id=f"{device} {vector['name']}") for device in CHIPS for vector in vectors(device)]
both = pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)


def make(device: str) -> SpeechChipEmulator:
    return CHIPS[device]("nowhere")


def frame_of(device: str, wanted: str) -> bytes:
    return next(bytes(vector["frame"]) for vector in vectors(device) if vector["name"] == wanted)


@pytest.mark.parametrize(("device", "vector"), ALL)
def test_vectors(device: str, vector: dict[str, Any]) -> None:
    chip = make(device)
    answer = chip.hear(vector["frame"], 100)
    assert list(chip.frames) == [vector["frame"]]
    if vector["name"] == "status query":
        assert answer in (b"\x41\x4f", b"\x4f")
        return
    assert answer == b"\x41"
    if "text" in vector:
        assert chip.hear(b"", 200) == b"\x4f"
        heard = [spoken.text for spoken in chip.spoken]
        assert heard == [text] if (text := spoken_text(vector).rpartition("]")[2]) else heard == []


@pytest.mark.parametrize(("device", "vector"), ALL)
def test_vectors_byte_by_byte(device: str, vector: dict[str, Any]) -> None:
    whole, dripped = make(device), make(device)
    answers = b"".join(dripped.hear(bytes([byte]), 100 + number / 1000) for number, byte in enumerate(vector["frame"]))
    assert answers == whole.hear(vector["frame"], 100)


@pytest.mark.parametrize("vector", vectors("syn6288"), ids=lambda vector: str(vector["name"]))
def test_every_flipped_bit_is_noticed(vector: dict[str, Any]) -> None:
    frame = vector["frame"]
    for bit in range(8 * 3, 8 * len(frame)):
        broken = bytearray(frame)
        broken[bit // 8] ^= 1 << bit % 8
        assert make("syn6288").hear(bytes(broken), 100) == b"\x45"


@pytest.mark.parametrize("length", [0, 1, 200, 1000, 65535])
@pytest.mark.parametrize("device", CHIPS)
def test_frame_that_is_never_finished(device: str, length: int) -> None:
    chip = make(device)
    answers = chip.hear(b"\xfd" + length.to_bytes(2, "big"), 100)
    answers += chip.hear(b"", chip.next_at() or 100)
    assert answers == b"\x45"
    assert chip.next_at() is None
    assert chip.hear(frame_of(device, "stop"), 101) == b"\x41"


def test_syn6288_refuses_201_bytes_of_text() -> None:
    body = bytes([0xFD, 0, 204, 1, 1]) + b"x" * 201
    checksum = 0
    for byte in body:
        checksum ^= byte
    assert make("syn6288").hear(body + bytes([checksum]), 100) == b"\x45"


def test_xfs5152_refuses_4097_bytes_of_text() -> None:
    assert make("xfs5152").hear(b"\xfd" + (4098).to_bytes(2, "big") + b"\x01\x01" + b"x" * 4096, 100) == b"\x41"
    assert make("xfs5152").hear(b"\xfd" + (4099).to_bytes(2, "big") + b"\x01\x01" + b"x" * 4097, 100) == b"\x45"


@given(st.sampled_from(list(CHIPS)), st.lists(st.tuples(st.binary(max_size=300), st.floats(0, 2)), max_size=20))
def test_whatever_comes(device: str, arrivals: list[tuple[bytes, float]]) -> None:
    chip, now = make(device), 100.0
    for data, pause in arrivals:
        now += pause
        assert set(chip.hear(data, now)) <= set(b"\x41\x45\x4e\x4f")
    while (then := chip.next_at()) is not None:
        now = max(now, then)
        chip.hear(b"", now)
        if chip.next_at() == then:
            pytest.fail("the emulator waits for a time that has passed")
    assert chip.hear(frame_of(device, "stop"), now + 10)[:1] == b"\x41"


@pytest.mark.parametrize("device", CHIPS)
def test_a_text_takes_its_time_and_can_be_paused(device: str) -> None:
    chip = make(device)
    chip.hear(frame_of(device, "say GBK"), 100)
    assert chip.hear(frame_of(device, "status query"), 100.7)[-1:] == b"\x4e"
    chip.hear(frame_of(device, "pause"), 100.7)
    assert chip.hear(b"", 150) == b""
    chip.hear(frame_of(device, "resume"), 150)
    assert chip.hear(b"", 150.05) == b""
    assert chip.hear(b"", 150.2) == b"\x4f"
    assert [spoken.complete for spoken in chip.spoken] == [True]


@pytest.mark.parametrize("device", CHIPS)
def test_a_new_text_cuts_off_the_old_one(device: str) -> None:
    chip = make(device)
    chip.hear(frame_of(device, "say GBK"), 100)
    chip.hear(frame_of(device, "say GB2312"), 100.3)
    assert chip.hear(b"", 101.5) == b"\x4f"
    assert [(spoken.complete, spoken.seconds) for spoken in chip.spoken] == [(False, 0.3), (True, 0.8)]


@both
async def test_says_that_it_is_ready_and_sees_the_line_close(chip: type[SpeechChipEmulator]) -> None:
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as line:
            async with asyncio.timeout(5), chip(cable.b) as emulator:
                assert await line.read() == b"\x4a"
                cable.unplug()
                with pytest.raises(NotConnected):
                    await emulator.task


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("device", CHIPS)
async def test_as_a_program(device: str, number: signal.Signals) -> None:
    async with Cable() as cable, asyncio.timeout(15):
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"village_emulators.{device}", cable.b, "--speed", "100",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert program.stdout
            assert json.loads(await program.stdout.readline()) == {"event": "ready", "port": cable.b}
            with SerialLine.open(cable.a, 9600) as line:
                await line.write(
                    frame_of(device, "emergency text" if device == "xfs5152" else "say with volume+speed marks")
                )
                told = json.loads(await program.stdout.readline())
            assert told["event"] == "spoken"
            assert told["text"] == "紧急通知，请立即转移。"
            assert told["volume"] == (10 if device == "xfs5152" else 16)
            assert told["seconds"] > 0
            program.send_signal(number)
            assert await program.wait() == 0
        finally:
            if program.returncode is None:
                program.kill()
            await program.communicate()


async def test_program_without_a_line_says_so() -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "village_emulators.syn6288", "/nonexistent/tty", stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(15):
        _, complaint = await program.communicate()
    assert program.returncode == 1
    assert complaint == b"/nonexistent/tty does not exist\n"
