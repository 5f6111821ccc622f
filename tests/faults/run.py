"""One run: build the village, break it under load, let it recover, compare."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from tests.faults.clocks import FakeClock, build_library
from tests.faults.disks import SmallDisk
from tests.faults.faults import Injector
from tests.faults.judge import Verdict, judge
from tests.faults.load import Load
from tests.faults.network import open_links
from tests.faults.plan import plan
from tests.faults.produced import Produced
from tests.faults.stored import StoreCopy, read_control, read_influx_samples, read_outbox, read_sqlite_samples
from tests.faults.village import AGENTS, Plan, Village
from village_demo.site import free_port


@dataclass(frozen=True, slots=True)
class Options:
    """Lengths in seconds; `interval` is the mean time between two faults."""

    seed: int
    load_seconds: float
    recovery_seconds: float
    interval: float
    store: str
    link: str
    without: frozenset[str]
    folder: Path


@dataclass
class Outcome:
    """What a run found. `means` says what stood in for link, disk and clock."""

    verdict: Verdict
    faults: dict[str, int]
    means: dict[str, str]
    latencies: list[float] = field(default_factory=list)
    recovery_seconds: float = 0.0

    @property
    def card_to_lock(self) -> dict[str, float]:
        """Milliseconds from card to lock where no fault was near: median, 99th percentile, number."""
        if len(self.latencies) < 2:
            return {"n": float(len(self.latencies))}
        cuts = quantiles(self.latencies, n=100, method="inclusive")
        return {"p50": round(cuts[49] * 1e3, 1), "p99": round(cuts[98] * 1e3, 1), "n": float(len(self.latencies))}


async def run(options: Options, say: Callable[[str], None]) -> Outcome:
    """Go through a run; raises `Absent` and `TimeoutError` when the village does not come up."""
    load = Load(options.seed)
    async with _village(options, load, say) as (village, injector, means):
        possible = [place for place in injector.possible() if place[0] not in options.without]
        faults = plan(options.seed, options.load_seconds, options.interval, possible)
        say(f"{len(faults)} faults in {options.load_seconds:.0f} s under load, seed {options.seed}")
        reviving = asyncio.create_task(injector.revive(), name="revive")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(load.run(village), name="load")
                ends = time.monotonic() + options.load_seconds
                await injector.run(faults)
                await asyncio.sleep(max(0.0, ends - time.monotonic()))
                load.stop.set()
            recovery = await _recover(village, options.recovery_seconds, say)
        finally:
            reviving.cancel()
            await asyncio.wait([reviving])
        copy = StoreCopy()
        await asyncio.gather(*(program.stop() for program in village.agents.values()))
        await asyncio.to_thread(_read, village, copy)
    verdict = judge(load.produced, copy)
    verdict.counts |= {f"{name} ended by itself": count for name, count in sorted(injector.ended.items())}
    latencies = _quiet_latencies(load.produced, injector.spans)
    return Outcome(verdict, dict(injector.done), means, latencies, recovery)


@asynccontextmanager
async def _village(
    options: Options, load: Load, say: Callable[[str], None]
) -> AsyncIterator[tuple[Village, Injector, dict[str, str]]]:
    folder, port = options.folder, free_port()
    library = await asyncio.to_thread(build_library, folder)
    async with AsyncExitStack() as stack:
        how, links = await stack.enter_async_context(open_links(AGENTS, port, options.link))
        clocks = {} if library is None else {agent: FakeClock(folder / f"clock-{agent}", library) for agent in AGENTS}
        disks = {name: SmallDisk(folder / name) for name in (*AGENTS, "collector")}
        village = Village(
            Plan(folder, options.store, port, links, {agent: clock.environment for agent, clock in clocks.items()}),
            load.told,
        )
        for disk in disks.values():
            await asyncio.to_thread(disk.mount)
            stack.callback(disk.unmount)
        stack.callback(_keep_states, folder, list(disks))
        stack.push_async_callback(village.stop)
        means = {
            "store": "InfluxDB" if options.store == "influx" else "SQLite",
            "link": how,
            "disk": disks[AGENTS[0]].how,
            "clock": "a library in front of the agent"
            if library
            else "not jumped: there is no C compiler to build the library",
        }
        for name, text in means.items():
            say(f"{name}: {text}")
        await village.start()
        yield village, Injector(village, links, disks, clocks, load.produced, say), means


def _keep_states(folder: Path, names: list[str]) -> None:
    # What lies on a disk that is unmounted is gone; whoever keeps the folder wants to see it.
    for name in names:
        with contextlib.suppress(OSError, shutil.Error):
            shutil.copytree(folder / name, folder / f"{name}-at-the-end", dirs_exist_ok=True)


async def _recover(village: Village, seconds: float, say: Callable[[str], None]) -> float:
    """Wait until all that lay in the outboxes is gone and every accepted command has its result; return how long it took."""
    begin = time.monotonic()
    # The counters end here, so that no reading is under way when the agents are stopped.
    await asyncio.gather(*(village.far_ends[agent, "board"].stop() for agent in AGENTS))
    await asyncio.sleep(2)
    before = {agent: await asyncio.to_thread(read_outbox, village.state_dir(agent)) for agent in AGENTS}
    while True:
        left = 0
        for agent in AGENTS:
            now = await asyncio.to_thread(read_outbox, village.state_dir(agent))
            left += len(before[agent].events & now.events) + len(before[agent].numbers & now.numbers)
        copy = StoreCopy()
        await asyncio.to_thread(read_control, village.data_dir / "control.db", copy)
        open_results = copy.open_results(time.time())
        spent = time.monotonic() - begin
        if not left and not open_results:
            say(f"recovered after {spent:.1f} s")
            return spent
        if spent > seconds:
            say(
                f"not recovered after {spent:.0f} s: {left} entries in outboxes, {open_results} commands without a final result"
            )
            return spent
        await asyncio.sleep(0.5)


def _read(village: Village, copy: StoreCopy) -> None:
    read_control(village.data_dir / "control.db", copy)
    if village.plan.store == "influx":
        read_influx_samples(*village.influx, copy)
    else:
        read_sqlite_samples(village.data_dir / "telemetry.db", copy)
    for agent in AGENTS:
        copy.ledger[agent] = read_outbox(village.state_dir(agent)).lost


def _quiet_latencies(produced: Produced, spans: list[tuple[str, float, float]]) -> list[float]:
    """Seconds from card to lock where nothing was done to the agent from 6 s before until the lock acted."""
    return [
        card.lock - card.presented
        for card in produced.cards
        if card.lock is not None
        and not any(
            target == card.agent and begin <= card.lock and end >= card.presented - 6 for target, begin, end in spans
        )
    ]
