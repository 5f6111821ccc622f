"""What people do while things break: cards at every reader, commands to devices, agents and the area; and what the far ends saw."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.faults.produced import CARD_SECONDS, Card, Order, Produced, Served
from tests.faults.village import AGENTS, CHIP, MAX_CARDS, READERS, RELAYS, TOWNSHIP, Village, is_known
from village_demo.programs import Program

#: A card on which nothing happens for so long, while the agent runs and the reader is online, was not taken. A reader needs 8 s
#: to notice that its panel is gone, and tells its card once it is back.
_TAKEN_SECONDS = 9.0
_LOOK_SECONDS = 0.25
#: Releases by command differ in their length, in tenths of a second: from 2 s on, so many.
_RELEASES = 230
_CARD_PAUSE = (0.5, 1.3)
_COMMAND_PAUSE = (0.6, 1.6)
#: A relay comes to its turn again after some 25 s, until when what it does must be the answer to the last command.
_LIVES = (5.0, 8.0, 15.0)


@dataclass
class _Reader:
    """One reader. Only one card is held to it at a time, so that what it does is the answer to that card."""

    agent: str
    name: str
    online: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    card: Card | None = None


class Load:
    """`told` is what the emulators call; `run` makes people come until `stop` is set and each card is settled."""

    def __init__(self, seed: int) -> None:
        self.produced = Produced()
        self.stop = asyncio.Event()
        self._random = random.Random(f"load {seed}")
        self._readers = {
            (agent, address): _Reader(agent, name) for agent in AGENTS for name, address in READERS.items()
        }
        self._cards = 0
        self._orders: dict[tuple[str, str], Order] = {}

    def told(self, agent: str, emulator: str, report: dict[str, Any]) -> None:
        """Take what the far end of an agent's line tells."""
        now = time.time()
        match emulator, report:
            case "board", {"counted": int(number), "time": float(at)}:
                self.produced.served.append(Served(agent, number, at))
            case "board", {"coil": int(coil), "on": bool(on), "time": float(at)}:
                self._executed(agent, f"relay-{coil}", "switch", f"coil {coil} {'on' if on else 'off'}", at)
            case "chip", {"event": "spoken", "text": str(text), "seconds": float(seconds)}:
                self._executed(agent, CHIP, "broadcast", text, now - seconds)
            case "osdp", {"reader": int(address)}:
                self._reader_told(self._readers[agent, address], report, now)
            case _:
                pass

    async def run(self, village: Village) -> None:
        """Until `stop`; then until the last card is settled."""
        async with asyncio.TaskGroup() as group:
            for (agent, address), reader in self._readers.items():
                group.create_task(self._hold_cards(village, reader, address), name=f"cards at {agent}/{reader.name}")
            group.create_task(self._send_commands(village), name="commands")

    async def _hold_cards(self, village: Village, reader: _Reader, address: int) -> None:
        emulator = village.far_ends[reader.agent, "osdp"]
        while not await self._stopped(self._random.uniform(*_CARD_PAUSE)):
            if self._cards + 1 >= MAX_CARDS:
                return
            self._cards += 1
            card = Card(self._cards, reader.agent, reader.name, is_known(self._cards), time.time())
            self.produced.cards.append(card)
            reader.card = card
            await emulator.tell(f"card {address} 32 {card.number:08x}")
            await self._settled(reader, card, village.agents[reader.agent])
            reader.card = None

    async def _settled(self, reader: _Reader, card: Card, agent: Program) -> None:
        """Return when the reader has shown its light, or has long been well without doing so."""
        well, since = (0, False), time.monotonic()
        while card.light is None:
            reader.changed.clear()
            now = (agent.pid, reader.online)
            if now != well or not all(now):
                well, since = now, time.monotonic()
            elif time.monotonic() - since > _TAKEN_SECONDS:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await reader.changed.wait()

    def _reader_told(self, reader: _Reader, report: dict[str, Any], now: float) -> None:
        match report:
            case {"event": "session", "online": bool(online)}:
                reader.online = online
            case {"event": "output", "on": True, "seconds": float(seconds)} if abs(seconds - CARD_SECONDS) < 0.05:
                if reader.card is None or reader.card.lock is not None:
                    self.produced.ghosts.append(
                        f"{reader.agent}/{reader.name} was released for a card that nobody held"
                    )
                else:
                    reader.card.lock = now
            case {"event": "output", "on": True, "seconds": float(seconds)}:
                self._executed(reader.agent, reader.name, "unlock", f"{seconds:.1f} s", now)
            case {"event": "led", "colour": "green" | "red"} if reader.card is not None and reader.card.light is None:
                reader.card.light = now
            case _:
                return
        reader.changed.set()

    async def _send_commands(self, village: Village) -> None:
        async with village.client(timeout=20) as client, asyncio.TaskGroup() as group:
            number = 0
            while not await self._stopped(self._random.uniform(*_COMMAND_PAUSE)):
                number += 1
                order, body = self._order(number)
                self.produced.orders.append(order)
                self._orders[order.kind, order.mark] = order
                group.create_task(_send(client, order, body), name=f"order {number}")

    def _order(self, number: int) -> tuple[Order, dict[str, Any]]:
        agent = self._random.choice(AGENTS)
        target: dict[str, str]
        arguments: dict[str, Any]
        match self._random.choice(("switch", "switch", "unlock", "say", "unlock all", "say to all")):
            case "switch":
                coil, on = number % RELAYS, number // RELAYS % 2 == 0
                mark = f"coil {coil} {'on' if on else 'off'}"
                target, arguments = {"agent": agent, "device": f"relay-{coil}"}, {"kind": "switch", "on": on}
            case "unlock" | "unlock all" as where:
                seconds = 2.0 + number % _RELEASES / 10
                mark = f"{seconds:.1f} s"
                target = {"agent": agent, "device": self._random.choice(list(READERS))}
                if where == "unlock all":
                    target = {"area": TOWNSHIP}
                arguments = {"kind": "unlock", "seconds": round(seconds, 1)}
            case where:
                mark = f"通知{number}"
                target = {"agent": agent} if where == "say" else {"area": TOWNSHIP}
                order = Order(number, "broadcast", mark, time.time(), self._random.choice(_LIVES))
                body = {"targets": [target], "text": mark, "title": str(number), "chime": False}
                return order, body | {"expires_in": order.expires_in}
        life = self._random.choice(_LIVES)
        order = Order(number, str(arguments["kind"]), mark, time.time(), life)
        return order, {"target": target, "arguments": arguments, "expires_in": order.exact_life}

    def _executed(self, agent: str, device: str, kind: str, mark: str, at: float) -> None:
        order = self._orders.get((kind, mark))
        if order is None:
            self.produced.ghosts.append(f"{agent}/{device}: {kind} {mark}")
        else:
            order.executions.append((agent, device, at))

    async def _stopped(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.stop.wait()
        except TimeoutError:
            return False
        return True


async def _send(client: httpx.AsyncClient, order: Order, body: dict[str, Any]) -> None:
    try:
        path = "/broadcasts" if order.kind == "broadcast" else "/commands"
        order.status = (await client.post(path, json=body)).status_code
    except httpx.TransportError:
        # The collector was killed; whether it took the command, its store knows.
        order.status = 0
