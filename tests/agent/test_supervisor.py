"""The supervisor: one driver's failure is told and never another one's."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.agent.kit import SESSION, Run, ScriptedDriver, forever, running, single, site, unit, until
from village_agent import supervisor as module
from village_agent.supervisor import Supervisor
from village_drivers.kit import Device, Misconfigured, NotConnected, Report
from village_wire.events import StateChanged


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_CAP", 0.05)


def raising(error: BaseException) -> Run:
    async def run(report: Report) -> None:
        raise error

    return run


async def answering(report: Report) -> None:
    report.state("b", "ok", "works", "")
    report.reading("b", "switch", {"on": True})
    await forever(report)


@pytest.mark.parametrize(
    ("error", "code", "evidence"),
    [
        (NotConnected("line_missing", "/dev/ttyUSB0 does not exist"), "line_missing", "/dev/ttyUSB0 does not exist"),
        (ExceptionGroup("", [NotConnected("no_answer", "silent")]), "no_answer", "silent"),
        (ZeroDivisionError("by zero"), "driver_failed", "ZeroDivisionError: by zero"),
        (ExceptionGroup("", [NotConnected("no_answer", ""), ValueError("x")]), "driver_failed", "ExceptionGroup"),
    ],
)  # fmt: skip
async def test_a_failing_driver_is_down_and_tried_again_and_the_others_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception, code: str, evidence: str
) -> None:
    bad, good = single("a", object(), raising(error)), single("b", object(), answering)
    async with site(tmp_path, bad, good) as parts:
        caplog.set_level(logging.INFO)
        supervisor = Supervisor(parts.roster, parts.hub)
        async with running(supervisor.run()):
            await until(lambda: supervisor.restarts >= 4)
            states = dict(parts.hub.states)
        assert (states["a"].status, states["a"].code) == ("down", code)
        assert evidence in states["a"].evidence
        assert states["b"].status == "ok"
        changes = [
            (event.device, event.data.code) for event in await parts.events() if isinstance(event.data, StateChanged)
        ]
        assert sorted(changes) == [("a", code), ("a", "starting"), ("b", "starting"), ("b", "works")]
        assert len([record for record in caplog.records if "device a is down" in record.message]) == 1
        assert len([record for record in caplog.records if record.exc_info]) == (code == "driver_failed")


async def test_a_hung_driver_delays_nobody_and_is_called_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(module, "_WATCH_SECONDS", 0.02)
    async with site(tmp_path, single("a", object()), single("b", object(), answering)) as parts:
        async with running(Supervisor(parts.roster, parts.hub).run()):
            changes = await parts.until("state_changed", lambda found: len(found) == 4)
        found = {event.device: event.data for event in changes}
        assert isinstance(found["a"], StateChanged)
        assert (found["a"].status, found["a"].code, found["a"].session) == ("down", "no_answer", SESSION)
        assert isinstance(found["b"], StateChanged)
        assert found["b"].status == "ok"


async def test_recovery_is_logged_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def run(report: Report) -> None:
        if driver.runs < 3:
            raise NotConnected("line_missing", "gone")
        report.state("a", "ok", "works", "")
        await forever(report)

    driver = ScriptedDriver(run, {"a": Device("test", object())})
    async with site(tmp_path, unit("a", driver)) as parts:
        async with running(Supervisor(parts.roster, parts.hub).run()):
            await until(lambda: parts.state("a") == "ok works")
        messages = [record.message for record in caplog.records]
        assert next(m.split(":")[0] for m in messages if "device a" in m) == "device a is down"
        assert any("device a is ok again, it was down (line_missing)" in message for message in messages)


async def test_a_misconfigured_driver_is_tried_again_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = single("a", object(), raising(Misconfigured("no_permission", "/dev/ttyUSB0: permission denied")))
    async with site(tmp_path, bad, single("b", object(), raising(NotConnected("no_answer", "")))) as parts:
        supervisor = Supervisor(parts.roster, parts.hub)
        async with running(supervisor.run()):
            await until(lambda: supervisor.restarts > 10)
        assert isinstance(bad.driver, ScriptedDriver)
        assert bad.driver.runs == 1
        assert parts.state("a") == "down no_permission"
    monkeypatch.setattr(module, "MISCONFIGURED_SECONDS", 0.01)
    async with site(tmp_path, bad) as parts, running(Supervisor(parts.roster, parts.hub).run()):
        await until(lambda: isinstance(bad.driver, ScriptedDriver) and bad.driver.runs > 2)


async def test_the_waits_grow_to_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[int] = []

    def record(attempt: int, random: float, *, cap: float) -> float:
        attempts.append(attempt)
        return 0.0

    monkeypatch.setattr(module, "full_jitter", record)
    bad = single("a", object(), raising(NotConnected("no_answer", "")))
    async with site(tmp_path, bad) as parts, running(Supervisor(parts.roster, parts.hub).run()):
        await until(lambda: len(attempts) >= 4)
    assert attempts[:4] == [0, 1, 2, 3]


async def test_what_breaks_the_contract_is_dropped_counted_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(report: Report) -> None:
        for number in range(100):
            report.reading("a", "switch", {"on": number})
            report.reading("a", "nonsense", {"on": True})
            report.state("other", "ok", "works", "")
            report.state("a", "ok", "Not A Code", "x" * 5000)
        report.state("a", "ok", "works", "x" * 5000)
        await forever(report)

    async with site(tmp_path, single("a", object(), run)) as parts:
        async with running(Supervisor(parts.roster, parts.hub).run()):
            await until(lambda: parts.state("a") == "ok works")
        assert parts.outbox.waiting == len(await parts.events())
        assert sum(parts.hub.invalid.values()) >= 301
    assert len([record for record in caplog.records if record.name == "village_agent.report"]) == 4


async def test_devices_that_come_and_go_have_states_while_they_are_there(tmp_path: Path) -> None:
    driver = ScriptedDriver()
    async with site(tmp_path, unit("bridge", driver)) as parts:
        supervisor = Supervisor(parts.roster, parts.hub)
        async with running(supervisor.run()):
            driver.known["lamp"] = Device("switch", object())
            supervisor.refresh()
            assert parts.state("lamp") == "unknown starting"
            assert parts.hub.states.get("bridge") is None
            driver.known.clear()
            supervisor.refresh()
            assert [name for name, _ in parts.hub.states] == ["bridge"]


async def test_a_driver_without_devices_shows_its_own_failure(tmp_path: Path) -> None:
    driver = ScriptedDriver(raising(NotConnected("broker_lost", "connection refused")))
    async with site(tmp_path, unit("bridge", driver)) as parts:
        async with running(Supervisor(parts.roster, parts.hub).run()):
            await until(lambda: parts.state("bridge") == "down broker_lost")
        assert [entry.kind for entry in parts.roster.inventory()] == ["driver"]
