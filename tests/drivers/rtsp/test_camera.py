"""The driver against the emulated camera, with the ffmpeg of the system and that of a package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.drivers.processes import children
from tests.drivers.recorder import Recorder, running
from tests.drivers.rtsp.cameras import PASSWORD, ends_with, make_driver
from tests.peers import free_port, peer
from village_drivers.abilities import abilities_of
from village_drivers.kit import Misconfigured, NotConnected, Refused
from village_emulators.camera import Camera, CameraSettings, camera


@pytest_asyncio.fixture
async def emulated() -> AsyncIterator[Camera]:
    async with camera(CameraSettings(user="village", password=PASSWORD)) as running_camera:
        yield running_camera


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("continuous", [False, True])
async def test_a_healthy_stream_is_measured(emulated: Camera, transport: str, continuous: bool) -> None:
    report = Recorder()
    async with running(
        make_driver(emulated.url, transport=transport, continuous=continuous, interval_seconds=1.2), report
    ):
        await report.until(lambda: len(report.fields) >= 2, 20)
    reading = report.fields[-1]
    assert reading["packets_per_s"] == pytest.approx(10, rel=0.35)
    assert 20 <= reading["key_frames_per_min"] <= 130
    assert reading["bits_per_s"] > 10_000
    assert reading["packet_age_s"] < 0.5
    assert reading["key_frame_age_s"] < 2
    assert {state[:2] for state in report.history} == {("ok", "works")}


async def test_packets_without_key_frames_degrade_until_they_come_again(emulated: Camera) -> None:
    emulated.command("no-key-frames")
    report = Recorder()
    async with running(make_driver(emulated.url), report):
        await report.until(lambda: bool(report.history), 20)
        assert report.history[-1][:2] == ("degraded", "no_key_frames")
        assert report.fields[-1]["packets_per_s"] > 3
        assert "key_frame_age_s" not in report.fields[-1]
        emulated.command("normal")
        await report.until(lambda: report.history[-1][0] == "ok", 20)


async def test_key_frames_that_cease_are_noticed_in_a_continuous_watch(emulated: Camera) -> None:
    report = Recorder()
    async with running(make_driver(emulated.url, continuous=True, interval_seconds=0.5), report):
        await report.until(lambda: bool(report.history), 20)
        assert report.history[-1][0] == "ok"
        emulated.command("no-key-frames")
        await report.until(lambda: report.history[-1][1] == "no_key_frames", 20)


@pytest.mark.parametrize("continuous", [False, True])
async def test_a_frozen_stream_is_down(emulated: Camera, continuous: bool) -> None:
    report = Recorder()
    driver = make_driver(emulated.url, continuous=continuous, interval_seconds=0.5, connect_seconds=2)
    with pytest.raises(NotConnected, match="no packet for") as caught:
        async with running(driver, report) as task:
            await report.until(lambda: bool(report.history), 20)
            emulated.command("freeze")
            async with asyncio.timeout(15):
                await task
    assert caught.value.code == "no_packets"


async def test_a_wrong_password_is_a_fault_of_the_configuration(emulated: Camera) -> None:
    emulated.command("password other")
    error = await ends_with(make_driver(emulated.url), Recorder())
    assert isinstance(error, Misconfigured)
    assert error.code == "unauthorised"
    with pytest.raises(Refused) as caught:
        await make_driver(emulated.url).snapshot()
    assert caught.value.code == "unauthorised"


async def test_the_password_may_stand_in_a_file(emulated: Camera, tmp_path: Path) -> None:
    file = tmp_path / "camera.pw"
    driver = make_driver(emulated.url, password="", password_file=str(file))
    with pytest.raises(Misconfigured, match="No such file"):
        await driver.run(Recorder())
    file.write_text(PASSWORD + "\n")
    assert (await driver.snapshot()).startswith(b"\xff\xd8")


async def test_a_wrong_path_and_a_closed_port_are_told_apart(emulated: Camera) -> None:
    error = await ends_with(make_driver(emulated.url.replace("/cam", "/other")), Recorder())
    assert (type(error), error.code) == (NotConnected, "rejected")
    assert "404" in str(error)
    error = await ends_with(make_driver(f"rtsp://127.0.0.1:{free_port()}/cam"), Recorder())
    assert (type(error), error.code) == (NotConnected, "unreachable")


async def test_a_camera_that_accepts_and_says_nothing_is_down() -> None:
    def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        url = f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        error = await ends_with(make_driver(url, connect_seconds=1), Recorder())
    finally:
        server.close()
        for writer in held:
            writer.close()
    assert (type(error), error.code) == (NotConnected, "no_packets")


async def test_a_killed_camera_is_noticed() -> None:
    report = Recorder()
    with pytest.raises(NotConnected):
        async with camera(CameraSettings()) as mortal:
            driver = make_driver(mortal.url, continuous=True, username="", password="")
            async with running(driver, report) as task:
                await report.until(lambda: bool(report.history), 20)
                await mortal.server.close()
                async with asyncio.timeout(10):
                    await task


async def test_a_snapshot_is_a_picture_that_another_program_decodes(emulated: Camera, tmp_path: Path) -> None:
    driver = make_driver(emulated.url, snapshot_width=160)
    first, second = await asyncio.gather(driver.snapshot(), driver.snapshot())
    (tmp_path / "picture.jpg").write_bytes(first)
    process = await asyncio.create_subprocess_exec(
        peer("ffmpeg"), "-v", "error", "-i", str(tmp_path / "picture.jpg"), "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    pixels, errors = await process.communicate()
    assert errors == b""
    assert len(pixels) == 160 * 120
    # The test picture has bright and dark areas.
    assert max(pixels) - min(pixels) > 150
    assert second.startswith(b"\xff\xd8")


async def test_a_snapshot_of_a_frozen_camera_ends_in_time(emulated: Camera) -> None:
    emulated.command("freeze")
    with pytest.raises(NotConnected, match="no whole picture in 1"):
        await make_driver(emulated.url, snapshot_seconds=1).snapshot()


async def test_a_cancelled_probe_and_snapshot_leave_no_child(emulated: Camera) -> None:
    before = children()
    driver, report = make_driver(emulated.url), Recorder()
    async with running(driver, report):
        picture = asyncio.create_task(driver.snapshot())
        async with asyncio.timeout(10):
            while len(children()) < len(before) + 2:
                await asyncio.sleep(0.01)
        picture.cancel()
        await asyncio.wait([picture])
    assert children() == before


async def test_no_password_is_in_the_process_list(emulated: Camera) -> None:
    seen = ""
    async with running(make_driver(emulated.url), Recorder()) as task:
        async with asyncio.timeout(10):
            while seen.count("concat") < 5:
                assert not task.done()
                for pid in children():
                    for file in ("cmdline", "environ"):
                        try:
                            seen += Path(f"/proc/{pid}/{file}").read_text()
                        except OSError:
                            continue
                await asyncio.sleep(0.02)
    assert "p%40ss" not in seen
    assert PASSWORD not in seen


async def test_the_ffmpeg_of_the_package_does_it_too(
    emulated: Camera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imageio = pytest.importorskip("imageio_ffmpeg", reason="pip install imageio-ffmpeg")
    shipped = imageio.get_ffmpeg_exe()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", shipped)
    report = Recorder()
    driver = make_driver(emulated.url)
    async with running(driver, report):
        await report.until(lambda: len(report.fields) >= 2, 20)
        assert (await driver.snapshot()).endswith(b"\xff\xd9")
    assert report.fields[-1]["packets_per_s"] == pytest.approx(10, rel=0.35)
    emulated.command("password other")
    assert (await ends_with(driver, Recorder())).code == "unauthorised"


def test_it_is_a_camera() -> None:
    device = make_driver("rtsp://h/").devices()["cam"]
    assert device.kind == "camera"
    assert abilities_of(device.handle) == ("camera",)
