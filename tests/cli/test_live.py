"""Speaking live with the real program: real ffmpeg, a real HTTP server, the collector's own API."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from uuid import UUID

import pytest

from tests.cli.collector import PROGRAM, ROOT, environment
from tests.cli.test_real_api import Site, control, site
from tests.collector.broadcasts.sounds import tone
from tests.collector.kit import VILLAGE
from tests.peers import peer
from village_collector.live.ogg import OpusReader

__all__ = ["control", "site"]


@pytest.fixture(autouse=True)
def _encoder() -> None:
    peer("ffmpeg")


def _packets(site: Site) -> int:
    return sum("/live/" in message.topic for message in site.collector.outbox.sent)


async def test_a_file_is_spoken_recorded_and_saved(site: Site, tmp_path: Path) -> None:
    file = await asyncio.to_thread(tone, tmp_path / "speech.wav", 3.0)
    words = ("--to", VILLAGE, "--from", str(file), "--no-chime", "--now", "--no-wait", "--json", "--title", "试音")
    ended = await site.run("broadcast", "live", *words)
    assert "Speak now" in ended.stderr
    assert "3.0 s spoken" in ended.stderr
    document = json.loads(ended.stdout)
    assert document["content"]["title"] == "试音"
    # No loudspeaker answers here.
    assert ended.code == 3
    assert _packets(site) == 3.0 // 0.06 + 2
    saved = await site.run("broadcast", "recording", document["id"], "-o", str(tmp_path / "said.ogg"))
    assert saved.code == 0, saved.stderr
    frames = OpusReader().feed(await asyncio.to_thread((tmp_path / "said.ogg").read_bytes))
    assert len(frames) == pytest.approx(151, abs=2)
    listed = await site.run("broadcast", "list")
    assert "试音" in listed.stdout


async def test_ctrl_c_ends_the_voice_and_not_its_record(site: Site, tmp_path: Path) -> None:
    file = await asyncio.to_thread(tone, tmp_path / "speech.wav", 30.0)
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "broadcast", "live", "--to", VILLAGE, "--from", str(file), "--no-chime", "--now", "--no-wait", "--json",
        env=environment(site.url, {"VILLAGE_TOKEN": site.token}), cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(20):
        while _packets(site) < 10:
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = await process.communicate()
    assert b"s spoken as" in stderr
    assert b"ended it" not in stderr
    assert json.loads(stdout)["content"]["live"]


async def test_what_cannot_be_spoken(site: Site, tmp_path: Path) -> None:
    absent = await site.run("broadcast", "live", "--to", VILLAGE, "--from", str(tmp_path / "absent.mp3"))
    assert (absent.code, "There is no file" in absent.stderr) == (2, True)
    # No loudspeaker is woken for a source that is silent.
    silent = await site.run("broadcast", "live", "--to", VILLAGE, "--from", __file__)
    assert (silent.code, "No sound comes from" in silent.stderr) == (2, True)
    file = await asyncio.to_thread(tone, tmp_path / "speech.wav", 3.0)
    nowhere = await site.run("broadcast", "live", "--to", "absent", "--from", str(file))
    assert (nowhere.code, "absent" in nowhere.stderr) == (2, True)
    assert site.collector.outbox.sent == []


async def test_a_voice_that_is_cut_off_is_told_with_the_reason(site: Site, tmp_path: Path) -> None:
    file = await asyncio.to_thread(tone, tmp_path / "speech.wav", 30.0)
    words = ("--to", VILLAGE, "--from", str(file), "--no-chime", "--now", "--no-wait")
    speaking = asyncio.create_task(site.run("broadcast", "live", *words))
    async with asyncio.timeout(20):
        while _packets(site) < 10:
            await asyncio.sleep(0.02)
    urgent = await site.run("broadcast", "live", *words, "--class", "notice")
    assert (urgent.code, "speaks there at class notice" in urgent.stderr) == (2, True)
    (voice,) = {
        UUID(message.topic.rpartition("/")[2]) for message in site.collector.outbox.sent if "/live/" in message.topic
    }
    await site.collector.live.cut(voice, "withdrawn by somebody")
    ended = await speaking
    assert "The collector ended it: withdrawn by somebody" in ended.stderr
