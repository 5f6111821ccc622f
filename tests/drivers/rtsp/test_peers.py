"""The driver against cameras that others wrote: MediaMTX and GStreamer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.drivers.recorder import Recorder, running
from tests.drivers.rtsp.cameras import ends_with, make_driver
from tests.peers import absent, free_port, peer


@asynccontextmanager
async def _mediamtx(folder: Path) -> AsyncIterator[str]:
    """A MediaMTX with a published stream that only `village` may read."""
    port = free_port()
    (folder / "mediamtx.yml").write_text(
        f"rtspAddress: 127.0.0.1:{port}\nrtspTransports: [tcp]\nrtmp: no\nhls: no\nwebrtc: no\nsrt: no\n"
        "authInternalUsers:\n"
        "- {user: any, pass: '', ips: [127.0.0.1], permissions: [{action: publish}]}\n"
        "- {user: village, pass: s3cret, permissions: [{action: read}]}\n"
        "paths: {all_others: }\n"
    )
    server = await asyncio.create_subprocess_exec(
        peer("mediamtx"), str(folder / "mediamtx.yml"), cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    url = f"rtsp://127.0.0.1:{port}/yard"
    publisher = None
    try:
        assert server.stdout is not None
        async with asyncio.timeout(10):
            while b"listener opened" not in await server.stdout.readline():
                pass
        publisher = await asyncio.create_subprocess_exec(
            peer("ffmpeg"), "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10",
            "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10", "-pix_fmt", "yuv420p",
            "-f", "rtsp", "-rtsp_transport", "tcp", url,
        )  # fmt: skip
        async with asyncio.timeout(10):
            while b"is publishing" not in await server.stdout.readline():
                pass
        yield url
    finally:
        for process in (publisher, server):
            if process is not None and process.returncode is None:
                process.kill()
        if publisher is not None:
            await publisher.wait()
        while server.stdout is not None and await server.stdout.read(65536):
            pass
        await server.wait()


async def test_mediamtx_is_measured_and_photographed(tmp_path: Path) -> None:
    async with _mediamtx(tmp_path) as url:
        driver, report = make_driver(url, password="s3cret"), Recorder()
        async with running(driver, report):
            await report.until(lambda: bool(report.history), 20)
            assert (await driver.snapshot()).startswith(b"\xff\xd8")
        assert report.fields[-1]["packets_per_s"] == pytest.approx(10, rel=0.35)
        assert report.history[-1][:2] == ("ok", "works")
        assert (await ends_with(make_driver(url, password="wrong"), Recorder())).code == "unauthorised"
        assert (await ends_with(make_driver(f"{url}2", password="s3cret"), Recorder())).code == "rejected"


_GSTREAMER = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
auth = GstRtspServer.RTSPAuth()
auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
token = GstRtspServer.RTSPToken()
token.set_string("media.factory.role", "viewer")
auth.add_digest("village", "s3cret", token)
server.set_auth(auth)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( videotestsrc is-live=1 ! video/x-raw,width=320,height=240,framerate=10/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 )"
)
role = "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
factory.add_role_from_structure(Gst.Structure.new_from_string(role))
server.get_mount_points().add_factory("/yard", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""


async def test_gstreamer_is_measured_and_photographed() -> None:
    # The bindings belong to the system's Python, not to this one.
    server = await asyncio.create_subprocess_exec(
        "/usr/bin/python3", "-c", _GSTREAMER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert server.stdout is not None
    try:
        async with asyncio.timeout(10):
            port = (await server.stdout.readline()).decode().strip()
        if not port:
            absent("GStreamer's RTSP server is absent: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0")
        driver, report = make_driver(f"rtsp://127.0.0.1:{port}/yard", password="s3cret"), Recorder()
        async with running(driver, report):
            await report.until(lambda: bool(report.history), 20)
            assert (await driver.snapshot()).startswith(b"\xff\xd8")
        assert report.fields[-1]["packets_per_s"] == pytest.approx(10, rel=0.35)
        assert report.history[-1][:2] == ("ok", "works")
        wrong = make_driver(f"rtsp://127.0.0.1:{port}/yard", password="wrong")
        assert (await ends_with(wrong, Recorder())).code == "unauthorised"
    finally:
        if server.returncode is None:
            server.kill()
        while await server.stdout.read(65536):
            pass
        await server.wait()
