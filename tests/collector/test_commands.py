"""Commands: durable before they are sent, signed, sent once, and followed to the last device."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from tests.collector.kit import (
    OTHER,
    SITE,
    T0,
    TOWNSHIP,
    VILLAGE,
    Outbox,
    add_site,
    at,
    batch,
    entry,
    inventory,
    result,
    settle,
)
from village_collector.commands import (
    GRACE,
    LONGEST_RUN,
    MAX_WAITERS,
    BadExpiry,
    CommandReport,
    CommandService,
    NoSuchAbility,
    NotSent,
    TooManyWaiters,
    UnknownTarget,
    state_of,
)
from village_collector.ports import StoreUnavailable
from village_collector.stores.command_records import Progress
from village_collector.stores.control import ControlStore
from village_wire.commands import Arguments, Snapshot, Stop, SwitchTo, Target, Unlock
from village_wire.events import Event

DOOR = Target(agent="gate-1", device="reader")


async def parked(service: CommandService) -> None:
    """Until somebody waits for results, having read those that are there."""
    while not service.next_arrival._waiters:
        await asyncio.sleep(0)


class Clock:
    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now


class Site:
    """A service with its store, its broker and its clock."""

    def __init__(self, control: ControlStore) -> None:
        self.control = control
        self.outbox = Outbox()
        self.clock = Clock()
        self.service = CommandService(control, self.outbox.signer, self.outbox.publish, now=self.clock)

    async def issue(self, target: Target, arguments: Arguments, expires_in: float = 30) -> UUID:
        return await self.service.issue(target, arguments, "li", expires_in)

    async def report(self, command: UUID) -> CommandReport:
        report = await self.service.report(command)
        assert report is not None
        return report

    async def deliver(self, agent: str, *events: Event) -> None:
        await asyncio.to_thread(self.control.store_events, [batch(agent, *events)])
        self.service.results_arrived()


@pytest.fixture
def site(control: ControlStore) -> Site:
    add_site(control)
    return Site(control)


async def test_a_command_is_signed_and_sent_once(site: Site) -> None:
    command = await site.issue(DOOR, Unlock(seconds=3))
    (message,) = site.outbox.sent
    assert (message.topic, message.qos, message.retain, message.expiry) == (
        "village/1/agent/gate-1/command",
        1,
        False,
        30,
    )
    (sent,) = site.outbox.commands()
    assert (sent.id, sent.target, sent.arguments, sent.issuer) == (command, DOOR, Unlock(seconds=3), "li")
    assert (sent.issued, sent.expires) == (T0, at(30))
    report = await site.report(command)
    assert report.state == "waiting"
    assert report.expected == [("gate-1", "reader")]
    assert report.record.sent is True


async def test_a_command_is_on_disk_before_it_is_sent(site: Site, tmp_path: Path) -> None:
    found: list[bool | None] = []

    async def look(_message: object) -> None:
        (record,) = await asyncio.to_thread(site.control.recent_commands, 10)
        found.append(record.sent)

    service = CommandService(site.control, site.outbox.signer, look, now=site.clock)
    await service.issue(DOOR, Unlock(), "li", 30)
    assert found == [None]


async def test_an_area_is_one_message(site: Site) -> None:
    await asyncio.to_thread(add_site, site.control, "gate-2", area=f"{VILLAGE}-g01")
    await asyncio.to_thread(add_site, site.control, "gate-3", area=OTHER)
    command = await site.issue(Target(area=TOWNSHIP), Stop())
    assert [message.topic for message in site.outbox.sent] == [f"village/1/area/{TOWNSHIP}/command"]
    report = await site.report(command)
    assert report.expected == [("gate-1", "speaker"), ("gate-2", "speaker")]


async def test_an_agent_as_target_means_all_its_devices_with_the_ability(site: Site) -> None:
    await asyncio.to_thread(site.control.store_inventory, inventory("gate-1", *SITE, entry("siren", "loudspeaker")), T0)
    report = await site.report(await site.issue(Target(agent="gate-1"), Stop()))
    assert report.expected == [("gate-1", "siren"), ("gate-1", "speaker")]


@pytest.mark.parametrize(
    ("target", "arguments", "error", "text"),
    [
        (Target(agent="gate-9"), Stop(), UnknownTarget, "unknown agent gate-9"),
        (Target(agent="gate-1", device="x"), Stop(), UnknownTarget, "unknown device gate-1/x"),
        (Target(area="110000000000"), Stop(), UnknownTarget, "no agent in area 110000000000"),
        (Target(agent="gate-1", device="camera"), Unlock(), NoSuchAbility, "device gate-1/camera has no door"),
        (Target(agent="gate-1"), SwitchTo(on=True), NoSuchAbility, "agent gate-1 has no switch"),
        (Target(area=VILLAGE), SwitchTo(on=True), NoSuchAbility, f"area {VILLAGE} has no switch"),
    ],
)
async def test_what_nobody_can_do_is_neither_kept_nor_sent(
    site: Site, target: Target, arguments: Arguments, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await site.issue(target, arguments)
    assert site.outbox.sent == []
    assert await asyncio.to_thread(site.control.recent_commands, 10) == []


@pytest.mark.parametrize(
    ("arguments", "seconds"), [(Unlock(), 61), (Unlock(), 4.9), (Stop(), 3601), (Stop(), float("nan"))]
)
async def test_the_life_of_a_command_has_limits(site: Site, arguments: Arguments, seconds: float) -> None:
    target = DOOR if arguments.kind == "unlock" else Target(agent="gate-1")
    with pytest.raises(BadExpiry, match="takes an expires_in between 5 and"):
        await site.issue(target, arguments, seconds)
    assert site.outbox.sent == []
    await site.issue(target, arguments, 60 if arguments.kind == "unlock" else 3600)


async def test_a_command_that_could_not_be_sent_is_never_sent_later(site: Site) -> None:
    site.outbox.broken = "not connected to the broker"
    with pytest.raises(NotSent, match="not connected") as caught:
        await site.issue(DOOR, Unlock())
    site.outbox.broken = ""
    await site.issue(Target(agent="gate-1"), Stop())
    report = await site.report(caught.value.command)
    assert (report.record.sent, report.record.problem, report.state) == (
        False,
        "not connected to the broker",
        "waiting",
    )
    assert [sent.arguments.kind for sent in site.outbox.commands()] == ["stop"]
    site.clock.now = at(30) + GRACE
    assert (await site.report(caught.value.command)).state == "expired"


async def test_a_command_whose_life_passed_while_it_was_stored_is_not_sent(site: Site) -> None:
    times = itertools.chain([T0], itertools.repeat(at(29.5)))
    service = CommandService(site.control, site.outbox.signer, site.outbox.publish, now=lambda: next(times))
    with pytest.raises(NotSent, match="longer than its life"):
        await service.issue(DOOR, Unlock(), "li", 30)
    assert site.outbox.sent == []


async def test_nothing_is_sent_without_the_store(site: Site) -> None:
    await asyncio.to_thread(site.control.close)
    with pytest.raises(StoreUnavailable):
        await site.issue(DOOR, Unlock())
    assert site.outbox.sent == []


async def test_an_upload_token_is_never_kept(site: Site, tmp_path: Path) -> None:
    token = "t0ken-of-the-picture"
    picture = Snapshot(upload_url="http://127.0.0.1:1/api/v1/uploads/x", upload_token=token)
    await site.issue(Target(agent="gate-1", device="camera"), picture)
    assert site.outbox.commands()[0].arguments == picture
    for path in tmp_path.iterdir():
        assert token.encode() not in await asyncio.to_thread(path.read_bytes)


async def test_results_complete_a_command(site: Site) -> None:
    command = await site.issue(DOOR, Unlock())
    await site.deliver("gate-1", result(command, "accepted", "reader", time=at(1)))
    report = await site.report(command)
    assert (report.state, [found.outcome for found in report.results]) == ("waiting", ["accepted"])
    await site.deliver("gate-1", result(command, "done", "reader", time=at(2)))
    report = await site.report(command)
    assert (report.state, [found.outcome for found in report.results]) == ("done", ["done"])


async def test_any_order_of_results_gives_the_same_report(site: Site) -> None:
    await asyncio.to_thread(add_site, site.control, "gate-2")
    reports = []
    for order in range(6):
        command = await site.issue(Target(area=VILLAGE), Stop())
        mine = [
            result(command, "accepted", "speaker", time=at(3)),
            result(command, "failed", "speaker", reason="jammed", time=at(2)),
            result(command, "done", "speaker", time=at(1)),
        ]
        for index in next(itertools.islice(itertools.permutations(range(3)), order, None)):
            await site.deliver("gate-1", mine[index], mine[index])
        report = await site.report(command)
        progress = report.record.progress
        reports.append((report.state, progress.answered, progress.final, [found.reason for found in report.results]))
    assert set(map(str, reports)) == {str(("waiting", 1, 1, ["jammed"]))}


async def test_old_commands_are_purged_with_the_events(site: Site) -> None:
    command = await site.issue(DOOR, Unlock())
    await site.deliver("gate-1", result(command, "done", "reader"))
    await asyncio.to_thread(site.control.purge_events, at(30))
    assert await site.service.report(command) is not None
    await asyncio.to_thread(site.control.purge_events, at(31))
    assert await site.service.report(command) is None


async def test_an_answer_of_the_agent_itself_counts_for_its_devices(site: Site) -> None:
    command = await site.issue(DOOR, Unlock())
    await site.deliver("gate-1", result(command, "refused", None, reason="expired"))
    report = await site.report(command)
    assert report.state == "done"
    assert [(found.device, found.reason) for found in report.results] == [("reader", "expired")]


async def test_unexpected_answers_are_told_apart(site: Site) -> None:
    command = await site.issue(DOOR, Unlock())
    unknown = CommandService.new_id()
    await site.deliver("gate-2", result(command, "done", "reader"), result(unknown, "done", "reader"))
    report = await site.report(command)
    assert (report.state, report.results) == ("waiting", [])
    assert [(found.agent, found.device) for found in report.others] == [("gate-2", "reader")]
    assert await site.service.report(unknown) is None


@pytest.mark.parametrize(
    ("answered", "final", "late", "wanted"),
    [
        (2, 2, LONGEST_RUN, "done"),
        (1, 1, GRACE - timedelta(seconds=1), "waiting"),
        (1, 1, GRACE, "expired"),
        (2, 1, GRACE, "waiting"),
        (2, 1, LONGEST_RUN, "expired"),
    ],
)
def test_state(answered: int, final: int, late: timedelta, wanted: str) -> None:
    assert state_of(Progress(T0, 2, answered, final, 0), T0 + late) == wanted


async def test_waiting_ends_with_the_first_news(site: Site) -> None:
    await asyncio.to_thread(add_site, site.control, "gate-2")
    command = await site.issue(Target(area=VILLAGE), Stop())
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(site.service.wait(command, 0, 30))
        await site.deliver("gate-1", result(command, "accepted", "speaker"))
    report = waiting.result()
    assert report is not None
    assert len(report.results) == 1
    # What was missed while nobody waited is told at once.
    async with asyncio.timeout(5):
        report = await site.service.wait(command, 0, 30)
        # The number stays the same, the answer changes.
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(site.service.wait(command, 1, 30))
            await parked(site.service)
            await site.deliver("gate-1", result(command, "done", "speaker", time=at(1)))
        await site.deliver("gate-2", result(command, "done", "speaker"))
        report = await site.service.wait(command, 2, 30)
    assert report is not None
    assert report.state == "done"


async def test_waiting_ends_when_its_time_is_over(site: Site) -> None:
    command = await site.issue(DOOR, Unlock())
    async with asyncio.timeout(5):
        report = await site.service.wait(command, 0, 0.05)
        assert report is not None
        assert report.results == []
        assert await site.service.wait(CommandService.new_id(), 0, 30) is None


async def test_waiting_ends_when_the_command_expires(site: Site) -> None:
    command = await site.issue(DOOR, Unlock(), 5)
    site.clock.now = at(5) + GRACE - timedelta(seconds=0.05)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(site.service.wait(command, 0, 30))
        await parked(site.service)
        site.clock.now = at(5) + GRACE
    report = waiting.result()
    assert report is not None
    assert report.state == "expired"


async def test_the_number_of_waiters_is_bounded(site: Site) -> None:
    command = await site.issue(DOOR, Unlock())
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = [group.create_task(site.service.wait(command, 0, 30)) for _ in range(MAX_WAITERS)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyWaiters):
            await site.service.wait(command, 0, 30)
        await site.deliver("gate-1", result(command, "done", "reader"))
    assert {report.state for task in waiting if (report := task.result()) is not None} == {"done"}


@pytest.mark.timeout(120)
async def test_the_answers_of_ten_thousand_agents_cost_the_same_each(control: ControlStore) -> None:
    villages = {f"a{number}": VILLAGE for number in range(10_000)}
    await asyncio.to_thread(settle, control, villages, entry("speaker", "loudspeaker"))
    site = Site(control)
    start = time.perf_counter()
    command = await site.issue(Target(area=VILLAGE), Stop())
    issued = time.perf_counter() - start

    async def answer(numbers: range) -> float:
        start = time.perf_counter()
        for first in range(numbers.start, numbers.stop, 50):
            batches = [batch(f"a{n}", result(command, "done", "speaker")) for n in range(first, first + 50)]
            await asyncio.to_thread(control.store_events, batches)
            site.service.results_arrived()
        return time.perf_counter() - start

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_watch(site, command))
        first, _, last = await answer(range(2000)), await answer(range(2000, 8000)), await answer(range(8000, 10_000))
    answers = watching.result()
    print(
        f"\nissue to 10,000: {issued:.2f} s; first 2,000 answers {first:.2f} s, last 2,000 {last:.2f} s; {answers} reports"
    )
    assert (await site.report(command)).state == "done"
    assert last < 3 * first + 0.5
    assert answers < 100


async def _watch(site: Site, command: UUID) -> int:
    """Follow as `village` does; return how many reports it took."""
    seen = answers = 0
    while True:
        report = await site.service.wait(command, seen, 30)
        answers += 1
        assert report is not None
        if report.state == "done":
            return answers
        seen = len(report.results)
