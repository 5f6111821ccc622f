"""Frames leave in order, whole and with their gap; nothing that a peer sends piles up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from village_drivers.serial_line import SerialLine
from village_drivers.speech.link import ChipLink, transmission_s
from village_drivers.speech.replies import Reply
from village_drivers.speech.syn6288_frames import FRAME_GAP_S, STATUS, STOP, say
from village_emulators.line import Cable


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[ChipLink, Cable, SerialLine, list[int]]]:
    noise: list[int] = []
    async with Cable() as cable:
        with SerialLine.open(cable.a, 9600) as near, SerialLine.open(cable.b, 9600) as far:
            link = ChipLink(near, 9600, FRAME_GAP_S, noise.append)
            work = [asyncio.create_task(link.read()), asyncio.create_task(link.write())]
            try:
                yield link, cable, far, noise
            finally:
                for task in work:
                    task.cancel()
                await asyncio.wait(work)


async def read(line: SerialLine, size: int) -> bytes:
    received = bytearray()
    async with asyncio.timeout(5):
        while len(received) < size:
            received += await line.read()
    return bytes(received)


def test_a_byte_takes_ten_bits() -> None:
    assert transmission_s(960, 9600) == 1


async def test_gap_between_frames() -> None:
    async with linked() as (link, _, far, _):
        started = asyncio.get_running_loop().time()
        for _ in range(5):
            link.post(STOP)
        assert await read(far, 5 * len(STOP)) == STOP * 5
        took = asyncio.get_running_loop().time() - started
        assert took >= 4 * (transmission_s(len(STOP), 9600) + 0.008)


async def test_a_frame_that_has_begun_is_whole_before_the_next() -> None:
    frame = say("村" * 100, "gbk")
    async with linked() as (link, _, far, _):
        asking = asyncio.create_task(link.ask(frame, {Reply.ACCEPTED}, 5))
        received = bytearray(await read(far, 1))
        asking.cancel()
        await asyncio.wait({asking})
        link.post(STOP)
        received += await read(far, len(frame) + len(STOP) - len(received))
        assert received == frame + STOP


async def test_a_frame_that_nobody_wants_any_more_is_not_sent() -> None:
    async with linked() as (link, _, far, _):
        link.post(STOP)
        asking = asyncio.create_task(link.ask(say("好", "gbk"), {Reply.ACCEPTED}, 5))
        await read(far, len(STOP))
        asking.cancel()
        await asyncio.wait({asking})
        link.post(STATUS)
        assert await read(far, len(STATUS)) == STATUS


async def test_old_replies_do_not_answer_a_new_frame() -> None:
    async with linked() as (link, cable, _, noise):
        cable.inject(b"\x41\x4f\x00", into=cable.a)
        async with asyncio.timeout(5):
            while not noise:
                await asyncio.sleep(0)
        assert await link.ask(STATUS, {Reply.IDLE}, 0.1) is None
        cable.inject(b"\x4f", into=cable.a)
        assert await link.hear({Reply.IDLE}, 5) is Reply.IDLE


async def test_what_piles_up_is_bounded() -> None:
    async with linked() as (link, cable, _, noise):
        for _ in range(1000):
            link.post(STOP)
        sent = 0
        async with asyncio.timeout(5):
            while sent < 64 * 1024:
                sent += cable.inject(b"\x4f\x00" * 1000, into=cable.a)
                await asyncio.sleep(0)
            while sum(noise) < sent // 2:
                await asyncio.sleep(0)
        assert len(link._replies) <= 64
        assert link._outgoing.qsize() <= 16
