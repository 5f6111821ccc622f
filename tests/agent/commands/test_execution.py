"""What a command does on a device: proof of play, pictures, and honest failures."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.agent.desk import Desk, desk
from tests.agent.kit import Gate, HangingGate, Speaker, single, until
from village_agent.commands import execution
from village_drivers.kit import DriverError, NotConnected, Refused
from village_wire.broadcasts import Audio
from village_wire.commands import Indicate, Snapshot, Stop, SwitchTo, Target, Unlock, Withdraw
from village_wire.events import CommandResult, Receipt

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


async def test_broadcasts_queue_at_a_loudspeaker_and_each_step_has_a_receipt(tmp_path: Path) -> None:
    async with speaking(tmp_path) as (one, speaker):
        first, second = one.command(one.text("one")), one.command(one.text("two"))
        one.send(first)
        await speaker.speaking.wait()
        one.send(second)
        # Done means queued: what is heard is told by receipts.
        assert (await one.results(second.id, 2))[-1] == ("s", "done", "")
        speaker.finish.set()
        await until(lambda: speaker.said == ["one", "two"])
        speaker.finish.set()
        receipts = await one.parts.until("receipt", lambda found: len(found) == 6)
        told = [event.data for event in receipts if isinstance(event.data, Receipt)]
        stages = {command.id: [one.stage for one in told if one.broadcast == command.id] for command in (first, second)}
        assert list(stages.values()) == [["queued", "started", "finished"]] * 2
        assert [one.evidence for one in told if one.stage == "finished"] == ["3 characters"] * 2


async def test_stop_silences_and_drops_everything(tmp_path: Path) -> None:
    async with speaking(tmp_path) as (one, speaker):
        first, second, stop = (
            one.command(one.text("one")),
            one.command(one.text("two")),
            one.command(Stop()),
        )
        one.send(first)
        await speaker.speaking.wait()
        one.send(second)
        await one.results(second.id, 2)
        one.send(stop)
        assert (await one.results(stop.id, 2))[-1] == ("s", "done", "")
        ends = [receipt for receipt in await one.receipts() if receipt[1] not in {"queued", "started"}]
        assert [(device, stage) for device, stage, _ in ends] == [("s", "cancelled")] * 2
        assert ends[1][2] == "stopped by wang"
        later = one.command(one.text("three"))
        one.send(later)
        await until(lambda: speaker.said == ["one", "three"])


async def test_what_is_withdrawn_is_not_heard_whichever_comes_first(tmp_path: Path) -> None:
    async with speaking(tmp_path) as (one, speaker):
        sounding, waiting, late = (one.command(one.text(text)) for text in ("one", "two", "three"))
        one.send(sounding)
        await speaker.speaking.wait()
        one.send(waiting)
        for command in (waiting, late):
            withdrawal = one.command(Withdraw(broadcast=command.id, reason="a mistake"))
            one.send(withdrawal)
            assert (await one.results(withdrawal.id, 2))[-1][1] == "done"
        one.send(late)
        assert (await one.results(late.id, 2))[-1] == ("s", "refused", "a mistake")
        speaker.finish.set()
        await one.parts.until("receipt", lambda found: len(found) >= 5)
        assert speaker.said == ["one"]
        assert ("s", "cancelled", "a mistake") in await one.receipts()


async def test_a_loudspeaker_that_plays_no_files_says_so(tmp_path: Path) -> None:
    async with speaking(tmp_path) as (one, _):
        audio = Audio(sha256="0" * 64, bytes=1, seconds=1, token="t")
        command = one.command(one.audio(audio))
        one.send(command)
        reason = "this loudspeaker plays no sound files"
        assert (await one.results(command.id, 2))[-1] == ("s", "refused", reason)
        await one.parts.until("receipt")
        assert await one.receipts() == [("s", "failed", reason)]


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
    monkeypatch.setattr(execution, "ANSWER_SECONDS", 0.2)
    gate = Gate()
    async with desk(tmp_path, single("slow", HangingGate()), single("gate", gate)) as one:
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
