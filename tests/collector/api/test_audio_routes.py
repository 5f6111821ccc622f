"""Sound files over HTTP: uploaded by who may broadcast, fetched in ranges by who has the token."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path

import httpx
import pytest

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.broadcasts.sounds import tone
from tests.collector.kit import VILLAGE
from village_wire.broadcasts import MAX_AUDIO_BYTES
from village_wire.commands import Broadcast

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg: apt install ffmpeg")


async def test_a_file_goes_from_a_person_to_an_agent(
    collector: Collector, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    content = (await asyncio.to_thread(tone, tmp_path / "tone.wav")).read_bytes()
    found = document(await client.put("/audio", content=content), "audio")
    assert set(found) == {"schema", "sha256", "seconds", "bytes"}
    answer = await client.post("/broadcasts", json={"targets": [{"area": VILLAGE}], "audio": found["sha256"]})
    told = document(answer, "broadcast", 202)
    (command,) = collector.outbox.commands()
    assert isinstance(command.arguments, Broadcast)
    audio = command.arguments.audio
    assert audio is not None
    assert (audio.sha256, audio.bytes) == (found["sha256"], found["bytes"])
    # The token is in the signed command alone.
    assert audio.token not in answer.text
    assert told["content"]["audio"] == {"sha256": audio.sha256, "bytes": audio.bytes, "seconds": audio.seconds}
    async with collector.client("") as agent:
        place, right = f"/audio/{audio.sha256}", {"Authorization": f"Bearer {audio.token}"}
        whole = await agent.get(place, headers=right)
        assert (whole.status_code, whole.headers["etag"]) == (200, f'"{audio.sha256}"')
        assert hashlib.sha256(whole.content).hexdigest() == audio.sha256
        part = await agent.get(place, headers=right | {"Range": "bytes=1000-", "If-Range": f'"{audio.sha256}"'})
        assert (part.status_code, part.content) == (206, whole.content[1000:])
        assert part.headers["content-range"] == f"bytes 1000-{audio.bytes - 1}/{audio.bytes}"
        beyond = await agent.get(place, headers=right | {"Range": f"bytes={audio.bytes + 5}-"})
        assert beyond.status_code == 416
        same = await agent.get(place, headers=right | {"If-None-Match": f'"{audio.sha256}"'})
        assert (same.status_code, same.content) == (304, b"")
        refusals = {
            (answer.status_code, answer.json()["detail"])
            for answer in (
                await agent.get(place),
                await agent.get(place, headers={"Authorization": "Bearer wrong"}),
                await agent.get(place, headers={"Authorization": f"Basic {audio.token}"}),
                await agent.get(f"/audio/{'0' * 64}", headers=right),
            )
        }
        # Whether there is such a file is not told.
        assert len(refusals) == 1
        assert next(iter(refusals))[0] == 403
        problem(await agent.get("/audio/..%2F..%2Fcontrol.db", headers=right), 404)
        problem(await agent.get("/audio/abc", headers=right), 422)


async def test_bad_files_are_refused_with_advice(client: httpx.AsyncClient) -> None:
    assert "can't be used" in problem(await client.put("/audio", content=b"no sound"), 422)
    assert "can't be used" in problem(await client.put("/audio", content=b""), 422)
    headers = {"Content-Length": str(MAX_AUDIO_BYTES + 1)}
    problem(await client.put("/audio", content=b"x", headers=headers), 413)


async def test_an_upload_is_in_the_audit_log(client: httpx.AsyncClient, tmp_path: Path) -> None:
    content = (await asyncio.to_thread(tone, tmp_path / "tone.wav", 1.0)).read_bytes()
    found = document(await client.put("/audio", content=content), "audio")
    entries = document(await client.get("/audit"), "audit")["entries"]
    assert [(row["action"], row["target"]) for row in entries] == [("audio.upload", found["sha256"])]
