"""A program to be killed: outbox and uplink under load. Tells each event's id once it is safe.

python -m tests.agent.sender FOLDER BROKER
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.agent.kit import make_event
from village_agent.disk import DiskThread
from village_agent.outbox.outbox import Outbox
from village_agent.pace import Pace
from village_agent.uplink import Uplink
from village_wire.address import BrokerAddress, SessionSettings, Subscription
from village_wire.events import ButtonPressed
from village_wire.session import Session


async def main(folder: Path, broker: str) -> None:
    outbox = Outbox(folder / "outbox.db", 2_000_000, DiskThread(), write_seconds=0.1)
    session = Session(
        SessionSettings(BrokerAddress(broker), "box"),
        [Subscription("village/1/agent/box/ack")],
        lambda message: uplink.on_ack(message.payload),
    )
    uplink = Uplink(
        "box", outbox, session, 2.0, Pace(send_seconds=0.1, drain_bytes_per_second=1_000_000, drain_spread_seconds=0)
    )

    async def connected() -> None:
        uplink.connected()

    async def press(number: int) -> None:
        while True:
            event = make_event("button", ButtonPressed(action="x" * number))
            await outbox.add_events([event])
            print(event.id, flush=True)
            await asyncio.sleep(0.002)

    async def measure() -> None:
        number = 0
        while True:
            for _ in range(20):
                number += 1
                outbox.add_line(b"switch,agent=box,device=s on=true %d" % number)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for work in (outbox.run(), uplink.run(), session.run(connected), measure(), *(press(n) for n in range(1, 4))):
            group.create_task(work)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
