"""Live voice for loudspeakers that can't play it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.agent.commands.test_execution import speaking
from tests.agent.desk import desk
from tests.agent.kit import single
from tests.agent.loudspeaker.live.kit import VOICE
from tests.agent.loudspeaker.live.test_station import Card
from village_agent.loudspeaker.live import opus
from village_wire.commands import Broadcast

REASON = "this loudspeaker can't play live voice"


async def test_a_chip_skips_it_and_says_why(tmp_path: Path) -> None:
    async with speaking(tmp_path) as (one, speaker):
        command = one.command(Broadcast(rank="alert", live=VOICE, end=one.clock.now + timedelta(hours=1)))
        one.send(command)
        assert (await one.results(command.id, 2))[-1] == ("s", "refused", REASON)
        await one.parts.until("receipt")
        assert await one.receipts() == [("s", "skipped", REASON)]
        assert speaker.said == []


async def test_a_box_without_the_decoder_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opus, "_LIBRARY", "libopus-that-is-absent.so.0")
    opus.load.cache_clear()
    try:
        async with desk(tmp_path, single("horn", Card())) as one:
            command = one.command(Broadcast(rank="alert", live=VOICE, end=one.clock.now + timedelta(hours=1)))
            one.send(command)
            await one.parts.until("receipt")
            (receipt,) = await one.receipts()
            assert receipt[1] == "skipped"
            assert "apt-get install libopus0" in receipt[2]
    finally:
        monkeypatch.undo()
        opus.load.cache_clear()
