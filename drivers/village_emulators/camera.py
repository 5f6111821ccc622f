"""A camera with a moving test picture, for any box that has ffmpeg.

    python -m village_emulators.camera --port 8554 --path /cam

prints its URL and then takes lines of faults: `freeze` (the connection stays, nothing is sent), `no-key-frames`,
`normal`, `password NEW` (the camera's password was changed).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from village_drivers.kit import NotConnected
from village_drivers.programs import Child, child
from village_emulators.console import lines
from village_emulators.rtsp_server import RtspServer, Stream

_START_SECONDS = 20.0
#: One key frame of a second may come at once.
_RECEIVE_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What the emulated camera is. Without a user it asks for no password. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 0
    path: str = "/cam"
    user: str = ""
    password: str = field(default="", repr=False)
    size: str = "320x240"
    frames_per_second: int = 10
    key_frame_every: int = 10


class Camera:
    """A running camera. `stream` has the switches."""

    def __init__(self, settings: CameraSettings, server: RtspServer) -> None:
        self.url = f"rtsp://{settings.host}:{server.port}{settings.path}"
        self.server = server

    @property
    def stream(self) -> Stream:
        """The stream with its fault switches."""
        return self.server.stream

    def command(self, line: str) -> str:
        """Obey a line of the console and return the answer."""
        word, _, rest = line.partition(" ")
        if word == "freeze":
            self.stream.frozen = True
        elif word == "no-key-frames":
            self.stream.key_frames = False
        elif word == "normal":
            self.stream.frozen, self.stream.key_frames = False, True
        elif word == "password" and rest:
            self.stream.password = rest
        else:
            return "commands: freeze, no-key-frames, normal, password NEW"
        return word


@asynccontextmanager
async def camera(settings: CameraSettings) -> AsyncIterator[Camera]:
    """Run a camera for the length of the context.

    Raises:
        Misconfigured: ffmpeg is missing.
        NotConnected: ffmpeg fails.
        OSError: the port is taken.
    """
    loop = asyncio.get_running_loop()
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    receiver.setblocking(False)
    receiver.bind(("127.0.0.1", 0))
    server = RtspServer(Stream(settings.path, "", settings.user, settings.password))
    transport, _ = await loop.create_datagram_endpoint(lambda: _Receiver(server), sock=receiver)
    try:
        async with child("ffmpeg", *_encoder(settings, receiver.getsockname()[1]), stdout=PIPE) as encoder:
            server.stream.sdp = await _describe(encoder)
            await server.start(settings.host, settings.port)
            yield Camera(settings, server)
    finally:
        await server.close()
        transport.close()


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, server: RtspServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, _: object) -> None:
        self._server.forward(data)


def _encoder(settings: CameraSettings, port: int) -> tuple[str, ...]:
    # The parameter sets stand in the SDP and before every key frame, as real cameras have them.
    return (
        "-nostdin", "-hide_banner", "-loglevel", "error",
        "-re", "-f", "lavfi", "-i", f"testsrc2=size={settings.size}:rate={settings.frames_per_second}",
        "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-threads", "1",
        "-g", str(settings.key_frame_every), "-flags", "+global_header", "-bsf:v", "dump_extra=freq=keyframe",
        "-sdp_file", "/dev/stdout", "-f", "rtp", f"rtp://127.0.0.1:{port}?pkt_size=1200",
    )  # fmt: skip


async def _describe(encoder: Child) -> str:
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                line = (await encoder.stdout.readline()).decode().strip()
                if line.startswith("a=fmtp"):
                    break
                if not line and encoder.stdout.at_eof():
                    raise NotConnected("program_failed", f"ffmpeg: {await encoder.complaints()}")
    except TimeoutError:
        raise NotConnected("program_failed", f"ffmpeg gave no stream in {_START_SECONDS:g} s") from None
    kept = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=Emulated camera", "c=IN IP4 0.0.0.0", "t=0 0"]
    kept += ["m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000", line, "a=control:track1", ""]
    return "\r\n".join(kept)


async def _serve(settings: CameraSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with camera(settings) as running:
        print(running.url, flush=True)
        console = asyncio.create_task(_obey(running), name="console")
        try:
            await stop.wait()
        finally:
            console.cancel()


async def _obey(running: Camera) -> None:
    async for line in lines():
        print(running.command(line), flush=True)


def main() -> None:
    """Run a camera until stopped."""
    parser = argparse.ArgumentParser(description="Emulate an RTSP camera. 模拟一台 RTSP 摄像机。")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8554, help="port to listen on; 0 takes a free one")
    parser.add_argument("--path", default="/cam", help="path of the stream")
    parser.add_argument("--user", default="", help="user name for Digest authentication")
    parser.add_argument("--password", default="", help="password; it can be read in the process list, so invent one")
    parser.add_argument("--size", default="640x360", help="picture size")
    parser.add_argument("--rate", type=int, default=10, help="pictures per second")
    options = parser.parse_args()
    asyncio.run(
        _serve(
            CameraSettings(
                host=options.host, port=options.port, path=options.path, user=options.user, password=options.password,
                size=options.size, frames_per_second=options.rate, key_frame_every=options.rate,
            )
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
