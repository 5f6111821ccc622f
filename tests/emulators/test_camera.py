"""The emulated camera: its protocol bytes by bytes, and as a program with MediaMTX as its client."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.peers import free_port, peer
from village_emulators.camera import CameraSettings, camera
from village_emulators.rtsp_server import BadRequest, RtspServer, Stream, has_key_frame, parse_request

_SDP = "v=0\r\nm=video 0 RTP/AVP 96\r\n"
_HEAD = bytes.fromhex("80600001000000000000 0001".replace(" ", ""))


@asynccontextmanager
async def _served(
    user: str = "", password: str = ""
) -> AsyncIterator[tuple[RtspServer, asyncio.StreamReader, asyncio.StreamWriter]]:
    server = RtspServer(Stream("/cam", _SDP, user, password))
    await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield server, reader, writer
    finally:
        writer.close()
        await server.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> str:
    writer.write(text.replace("\n", "\r\n").encode())
    answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    if length := re.search(r"Content-Length: (\d+)", answer):
        answer += (await reader.readexactly(int(length[1]))).decode()
    return answer


async def test_a_session_from_options_to_teardown() -> None:
    async with _served() as (server, reader, writer), asyncio.timeout(5):
        url = f"rtsp://127.0.0.1:{server.port}/cam"
        assert "DESCRIBE" in await _ask(reader, writer, f"OPTIONS {url} RTSP/1.0\nCSeq: 1\n\n")
        described = await _ask(reader, writer, f"DESCRIBE {url} RTSP/1.0\nCSeq: 2\n\n")
        assert described.startswith("RTSP/1.0 200 OK\r\n")
        assert described.endswith(_SDP)
        assert "CSeq: 2" in described
        assert "461" in await _ask(reader, writer, f"SETUP {url} RTSP/1.0\nCSeq: 3\nTransport: RAW/RAW/UDP\n\n")
        transport = "Transport: RTP/AVP/TCP;unicast;interleaved=4-5"
        assert "interleaved=4-5" in await _ask(reader, writer, f"SETUP {url} RTSP/1.0\nCSeq: 4\n{transport}\n\n")
        server.forward(_HEAD + b"\x41early")
        assert "200 OK" in await _ask(reader, writer, f"PLAY {url} RTSP/1.0\nCSeq: 5\n\n")
        writer.write(b"$\x05\x00\x04rtcp")
        assert "200 OK" in await _ask(reader, writer, f"GET_PARAMETER {url} RTSP/1.0\nCSeq: 6\n\n")
        server.forward(_HEAD + b"\x41picture")
        assert (await reader.readexactly(4 + 20))[4 + 12 :] == b"\x41picture"
        assert "200 OK" in await _ask(reader, writer, f"TEARDOWN {url} RTSP/1.0\nCSeq: 7\n\n")
        assert await reader.read() == b""


async def test_faults_hold_packets_back_and_numbers_go_on_without_a_gap() -> None:
    async with _served() as (server, reader, writer), asyncio.timeout(5):
        await _ask(reader, writer, "SETUP rtsp://h/cam RTSP/1.0\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n")
        await _ask(reader, writer, "PLAY rtsp://h/cam RTSP/1.0\n\n")
        numbers = []
        for frozen, key_frames, payload, passes in (
            (False, True, b"\x65key", True),
            (False, False, b"\x65key", False),
            (False, False, b"\x41other", True),
            (True, True, b"\x41other", False),
            (False, True, b"\x65key", True),
        ):
            server.stream.frozen, server.stream.key_frames = frozen, key_frames
            server.forward(_HEAD + payload)
            if passes:
                head = await reader.readexactly(4)
                packet = await reader.readexactly(int.from_bytes(head[2:], "big"))
                assert packet[12:] == payload
                numbers.append(int.from_bytes(packet[2:4], "big"))
        assert numbers == [1, 2, 3]


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        (b"\x65\x88", True),
        (b"\x41\x9a", False),
        (b"\x67\x42", False),
        (b"\x7c\x85\x88", True),
        (b"\x7c\x05\x88", True),
        (b"\x5c\x81\x9a", False),
        (b"\x78\x00\x02\x67\x42\x00\x02\x65\x88", True),
        (b"\x78\x00\x02\x67\x42\x00\x02\x41\x9a", False),
        (b"", False),
    ],
)
def test_key_frames_are_found_alone_in_fragments_and_in_aggregates(payload: bytes, key: bool) -> None:
    assert has_key_frame(_HEAD + payload) is key


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: _HEAD + b"\x78" + rest))
def test_any_packet_is_judged(packet: bytes) -> None:
    assert has_key_frame(packet) in (True, False)


@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda rest: f"PLAY {rest} RTSP/1.0\r\n\r\n".encode()))
def test_any_request_is_parsed_or_bad(data: bytes) -> None:
    try:
        assert " " not in parse_request(data).method
    except BadRequest:
        return


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"x" * 100_000, b"\r\n\r\n", b"$\x00", bytes(range(256)) * 100]
)
async def test_nonsense_ends_its_connection_and_no_other(data: bytes) -> None:
    async with _served() as (server, reader, writer), asyncio.timeout(5):
        bad_reader, bad_writer = await asyncio.open_connection("127.0.0.1", server.port)
        bad_writer.write(data)
        bad_writer.write_eof()
        with suppress(ConnectionResetError):
            assert await bad_reader.read() == b""
        bad_writer.close()
        assert "200 OK" in await _ask(reader, writer, "OPTIONS * RTSP/1.0\nCSeq: 1\n\n")


async def test_a_client_that_does_not_read_costs_a_bounded_amount() -> None:
    async with _served() as (server, reader, writer), asyncio.timeout(10):
        await _ask(reader, writer, "SETUP rtsp://h/cam RTSP/1.0\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n")
        await _ask(reader, writer, "PLAY rtsp://h/cam RTSP/1.0\n\n")
        for _ in range(20_000):
            server.forward(_HEAD + bytes(1400))
        (client,) = server._clients
        assert client.writer.transport.get_write_buffer_size() <= 1024 * 1024 + 2000


async def test_a_wrong_or_missing_answer_to_the_challenge_is_refused() -> None:
    async with _served(user="u", password="p") as (_, reader, writer), asyncio.timeout(5):
        answer = await _ask(reader, writer, "DESCRIBE rtsp://h/cam RTSP/1.0\nCSeq: 1\n\n")
        assert answer.startswith("RTSP/1.0 401")
        nonce = re.search('nonce="([0-9a-f]+)"', answer)
        assert nonce is not None
        wrong = f'Authorization: Digest username="u", nonce="{nonce[1]}", uri="/", response="{"0" * 32}"'
        assert "401" in await _ask(reader, writer, f"DESCRIBE rtsp://h/cam RTSP/1.0\n{wrong}\n\n")


async def test_the_program_obeys_its_console_and_ends_with_its_encoder() -> None:
    peer("ffmpeg")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "village_emulators.camera", "--port", "0", "--size", "160x120",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(20):
        url = (await process.stdout.readline()).decode().strip()
        assert re.fullmatch(r"rtsp://127\.0\.0\.1:\d+/cam", url)
        for line, answer in (("freeze", "freeze"), ("password x", "password"), ("dance", "commands: ")):
            process.stdin.write(f"{line}\n".encode())
            assert (await process.stdout.readline()).decode().startswith(answer)
        encoders = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert encoders
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in encoders)
    process.stdin.close()


async def test_mediamtx_can_take_the_stream(tmp_path: Path) -> None:
    peer("ffmpeg")
    async with camera(CameraSettings(user="u", password="p")) as emulated:
        source = emulated.url.replace("//", "//u:p@")
        (tmp_path / "mediamtx.yml").write_text(
            f"rtspAddress: 127.0.0.1:{free_port()}\nrtspTransports: [tcp]\nrtmp: no\nhls: no\nwebrtc: no\nsrt: no\n"
            f"paths:\n  yard: {{source: '{source}', rtspTransport: tcp}}\n"
        )
        relay = await asyncio.create_subprocess_exec(
            peer("mediamtx"), str(tmp_path / "mediamtx.yml"), cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        assert relay.stdout is not None
        try:
            async with asyncio.timeout(15):
                while b"ready: 1 track (H264)" not in (line := await relay.stdout.readline()):
                    assert b"ERR" not in line
        finally:
            relay.kill()
            while await relay.stdout.read(65536):
                pass
            await relay.wait()
