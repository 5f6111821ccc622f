"""What a command does on a device: proof of play, pictures, and honest failures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.agent.desk import Desk, desk
from tests.agent.kit import Gate, Speaker, single, until
from village_agent.commands import execution
from village_drivers.kit import DriverError, NotConnected, Refused
from village_wire.commands import Indicate, Say, Snapshot, Stop, SwitchTo, Target, Unlock
from village_wire.events import CommandResult

JPEG = b"\xff\xd8 a picture \xff\xd9"


class Camera:
    """Delivers what the test put in."""

    def __init__(self, picture: bytes = JPEG) -> None:
        self.picture = picture

    async def snapshot(self) -> bytes:
        return self.picture


class Relay:
    """Switches and remembers."""

    def __init__(self) -> None:
        self.on = False

    async def switch(self, on: bool) -> None:
        self.on = on


@dataclass
class Uploads:
    """A web server that takes pictures."""

    url: str = ""
    status: int = 204
    requests: list[tuple[str, str, str, bytes]] = field(default_factory=list)


@pytest.fixture
def uploads() -> Iterator[Uploads]:
    found = Uploads()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests.append((self.path, self.headers["Authorization"], self.headers["Content-Type"], body))
            self.send_response(found.status)
            if found.status == 302:
                self.send_header("Location", f"{found.url}/elsewhere")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - a name of http.server

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@asynccontextmanager
async def speaking(folder: Path) -> AsyncIterator[tuple[Desk, Speaker]]:
    speaker = Speaker()
    async with desk(folder, single("s", speaker)) as one:
        yield one, speaker


async def test_announcements_queue_at_a_loudspeaker_and_each_step_has_a_receipt(tmp_path: Path) -> None:
    async with speaking(tmp_path) as (one, speaker):
        first, second = one.command(Say(text="one")), one.command(Say(text="two"))
        one.send(first)
        await speaker.speaking.wait()
        one.send(second)
        await until(lambda: len(one.commands._under_way) == 2)
        speaker.finish.set()
        await until(lambda: speaker.said == ["one", "two"])
        speaker.finish.set()
        await one.results(second.id, 2)
        results = await one.parts.until("command_result", lambda found: len(found) == 4)
        done = [
            event.data for event in results if isinstance(event.data, CommandResult) and event.data.outcome == "done"
        ]
        assert [data.result for data in done] == [{"evidence": "3 characters"}] * 2
        assert [stage for _, stage, _ in await one.receipts()] == [
            "started",
            "queued",
            "finished",
            "started",
            "finished",
        ]


async def test_an_announcement_that_waited_too_long_is_not_spoken(tmp_path: Path) -> None:
    async with speaking(tmp_path) as (one, speaker):
        first, second = one.command(Say(text="one")), one.command(Say(text="late"), lifetime=30)
        one.send(first)
        await speaker.speaking.wait()
        one.send(second)
        await one.results(second.id, 1)
        one.clock.now += timedelta(seconds=30)
        speaker.finish.set()
        assert (await one.results(second.id, 2))[-1] == ("s", "refused", "expired")
        assert speaker.said == ["one"]
        assert ("s", "skipped", "expired") in await one.receipts()


async def test_stop_silences_and_empties_the_queue(tmp_path: Path) -> None:
    async with speaking(tmp_path) as (one, speaker):
        speaker.error = Refused("silenced", "stopped after 2 s")
        first, second, stop = one.command(Say(text="one")), one.command(Say(text="two")), one.command(Stop())
        one.send(first)
        await speaker.speaking.wait()
        one.send(second)
        await one.results(second.id, 1)
        await until(lambda: len(one.commands._under_way) == 2)
        one.send(stop)
        assert (await one.results(stop.id, 2))[-1] == ("s", "done", "")
        assert (await one.results(first.id, 2))[-1] == ("s", "failed", "stopped after 2 s")
        assert (await one.results(second.id, 2))[-1] == ("s", "refused", "stopped before its turn")
        assert ("s", "failed", "stopped after 2 s") in await one.receipts()
        speaker.error = None
        speaker.finish.set()
        later = one.command(Say(text="three"))
        one.send(later)
        await one.results(later.id, 2)
        assert speaker.said == ["one", "three"]


@pytest.mark.parametrize(
    ("error", "outcome", "reason", "code"),
    [
        (NotConnected("no_answer", "reader 1 is silent"), "failed", "reader 1 is silent", "no_answer"),
        (Refused("rejected", "output 3 is unknown"), "refused", "output 3 is unknown", "rejected"),
        (ZeroDivisionError("x"), "failed", "fault of the program: ZeroDivisionError", "driver_failed"),
    ],
)  # fmt: skip
async def test_a_failure_is_told_as_the_device_told_it(
    tmp_path: Path, error: DriverError, outcome: str, reason: str, code: str
) -> None:
    gate = Gate()
    gate.error = error
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(Unlock())
        one.send(command)
        assert (await one.results(command.id, 2))[-1] == ("gate", outcome, reason)
        results = await one.parts.until("command_result")
        assert isinstance(results[-1].data, CommandResult)
        assert results[-1].data.result == {"code": code}
        assert not [event for event in one.parts.seen if event.data.kind == "door_unlocked"]


async def test_a_hanging_device_fails_in_time_and_delays_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Gate):
        async def unlock(self, seconds: float) -> None:
            await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(execution, "ANSWER_SECONDS", 0.2)
    gate = Gate()
    async with desk(tmp_path, single("slow", Hanging()), single("gate", gate)) as one:
        slow, quick = one.command(Unlock(), Target(agent="box", device="slow")), one.command(Unlock())
        one.send(slow)
        one.send(quick)
        await until(lambda: gate.unlocked == [5])
        assert (await one.results(slow.id, 2))[-1] == ("slow", "failed", "the device did not answer in time")


async def test_relays_switch_and_readers_show_themselves(tmp_path: Path) -> None:
    relay, gate = Relay(), Gate()
    async with desk(tmp_path, single("r", relay), single("gate", gate)) as one:
        for arguments in (SwitchTo(on=True), Indicate(colour="amber")):
            command = one.command(arguments)
            one.send(command)
            assert (await one.results(command.id, 2))[-1][1] == "done"
        assert relay.on
        assert gate.lights == ["amber"]


async def snap(folder: Path, camera: Camera, url: str) -> tuple[str, str, dict[str, object]]:
    async with desk(folder, single("c", camera)) as one:
        command = one.command(Snapshot(upload_url=url, upload_token="one-time"))
        one.send(command)
        await one.results(command.id, 2)
        data = one.parts.seen[-1].data
        assert isinstance(data, CommandResult)
        return data.outcome, data.reason, data.result


async def test_a_picture_is_uploaded_with_its_token(tmp_path: Path, uploads: Uploads) -> None:
    assert await snap(tmp_path, Camera(), f"{uploads.url}/up/1") == ("done", "", {"bytes": len(JPEG)})
    assert uploads.requests == [("/up/1", "Bearer one-time", "image/jpeg", JPEG)]


@pytest.mark.parametrize("status", [302, 401, 500])
async def test_an_upload_that_fails_says_why_and_tells_nobody_the_token(
    tmp_path: Path, uploads: Uploads, status: int
) -> None:
    uploads.status = status
    outcome, reason, _ = await snap(tmp_path, Camera(), f"{uploads.url}/up/1")
    assert outcome == "failed"
    assert f"the collector answers {status}" in reason
    assert len(uploads.requests) == 1


async def test_a_collector_that_is_away_and_a_picture_too_large_are_failures(tmp_path: Path) -> None:
    outcome, reason, _ = await snap(tmp_path, Camera(), "http://127.0.0.1:1/up")
    assert (outcome, "can't be reached" in reason, "one-time" in reason) == ("failed", True, False)
    outcome, reason, _ = await snap(tmp_path, Camera(bytes(4 * 1024 * 1024 + 1)), "http://127.0.0.1:1/up")
    assert (outcome, "over the limit" in reason) == ("failed", True)
