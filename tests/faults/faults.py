"""The injectors: each fault is done to the running village, lasts, and is undone."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from tests.faults.clocks import FakeClock
from tests.faults.disks import SmallDisk
from tests.faults.network import Link
from tests.faults.plan import Fault
from tests.faults.produced import Produced
from tests.faults.stored import read_outbox
from tests.faults.village import AGENTS, Village
from village_demo.programs import Program

#: After an agent's disk has room again it takes so long until what waited in memory is written.
_WRITTEN_SECONDS = 7.0
#: A program that ends by itself, as a collector does that finds no room on its disk, is started again after this time, as systemd does it.
_RESTART_SECONDS = 1.0
#: A fault waits this long for its target to be well again, and is left out when it is not.
_BUSY_SECONDS = 20.0


class Injector:
    """Carries out a plan. `spans` are the (target, begin, end) of what was done, in true time."""

    def __init__(
        self,
        village: Village,
        links: Mapping[str, Link],
        disks: Mapping[str, SmallDisk],
        clocks: Mapping[str, FakeClock],
        produced: Produced,
        say: Callable[[str], None],
    ) -> None:
        self._village = village
        self._links = links
        self._disks = disks
        self._clocks = clocks
        self._produced = produced
        self._say = say
        self._busy: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._away: set[str] = set()
        self.done: Counter[str] = Counter()
        #: How often each program ended without being killed.
        self.ended: Counter[str] = Counter()
        self.spans: list[tuple[str, float, float]] = []
        self.programs: dict[str, Program] = {**village.agents, "broker": village.broker, "collector": village.collector}
        if village.store is not None:
            self.programs["store"] = village.store

    def possible(self) -> Sequence[tuple[str, str]]:
        """Every (kind, target) that this machine allows."""
        kills = [(f"kill {'agent' if name in AGENTS else name}", name) for name in self.programs]
        links = [(kind, agent) for agent in self._links for kind in ("cut link", "slow link")]
        disks = [("fill disk", name) for name in self._disks]
        return [*kills, *links, *disks, *(("jump clock", agent) for agent in self._clocks)]

    async def revive(self) -> None:
        """Start again what ended by itself, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self.programs:
                group.create_task(self._revive(name), name=f"revive {name}")

    async def run(self, faults: Sequence[Fault]) -> None:
        """Do them all, each at its time, side by side where they concern different things; all are undone at the end."""
        begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(0.0, begin + fault.at - time.monotonic()))
                group.create_task(self._inject(fault, begin), name=f"{fault.kind} {fault.target}")

    async def _revive(self, name: str) -> None:
        program = self.programs[name]
        while True:
            await asyncio.sleep(_RESTART_SECONDS)
            if name not in self._away and not program.running:
                self.ended[name] += 1
                self._say(f"          {name} ended by itself and is started again")
                await program.stop()
                await program.start()

    async def _inject(self, fault: Fault, begin: float) -> None:
        # A program whose disk takes nothing holds events in memory alone: to kill it then would prove nothing.
        what = {"cut link": "link", "slow link": "link", "jump clock": "clock"}.get(fault.kind, "life")
        lock = self._busy[fault.target, what]
        try:
            async with asyncio.timeout(_BUSY_SECONDS):
                await lock.acquire()
        except TimeoutError:
            self._say(f"{fault.kind} {fault.target}: left out, the target is still busy with the last fault")
            return
        try:
            started = time.time()
            async with self._effect(fault):
                amount = f" by {fault.amount:+d} s" if fault.amount else ""
                at = time.monotonic() - begin
                self._say(f"{at:6.1f} s  {fault.kind:14} {fault.target:9}{amount} for {fault.seconds:.1f} s")
                await asyncio.sleep(fault.seconds)
            self.spans.append((fault.target, started, time.time()))
            self.done[fault.kind] += 1
            if fault.kind == "fill disk":
                await asyncio.sleep(_WRITTEN_SECONDS)
        finally:
            lock.release()

    @asynccontextmanager
    async def _effect(self, fault: Fault) -> AsyncIterator[None]:
        target = fault.target
        match fault.kind:
            case "cut link" | "slow link":
                change = self._links[target].cut if fault.kind == "cut link" else self._links[target].slow
                await change(True)
                try:
                    yield
                finally:
                    await change(False)
            case "fill disk":
                process = self.programs[target].pid
                await asyncio.to_thread(self._disks[target].fill, process)
                try:
                    yield
                finally:
                    await asyncio.to_thread(self._disks[target].free, process)
            case "jump clock":
                await asyncio.to_thread(self._clocks[target].jump, fault.amount)
                try:
                    yield
                finally:
                    await asyncio.to_thread(self._clocks[target].jump, 0)
            case _:
                self._away.add(target)
                await self._kill(target)
                try:
                    yield
                finally:
                    await self.programs[target].start()
                    self._away.discard(target)

    async def _kill(self, target: str) -> None:
        await self.programs[target].kill()
        if target in AGENTS:
            self._produced.kills[target].append(time.time())
            outbox = await asyncio.to_thread(read_outbox, self._village.state_dir(target))
            self._produced.durable_events[target] |= outbox.events
            self._produced.durable_numbers[target] |= outbox.numbers
