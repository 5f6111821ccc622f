from __future__ import annotations

import asyncio
import logging

import pytest

from village_collector.looking import keep_looking
from village_collector.ports import StoreUnavailable

_log = logging.getLogger(__name__)


async def test_a_store_that_is_away_is_told_once_and_its_return_too(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter([None, "away", "away", None, None, "away"])
    over = asyncio.Event()

    async def look() -> None:
        answer = next(answers, "end")
        if answer == "end":
            over.set()
        elif answer is not None:
            raise StoreUnavailable(answer)

    with caplog.at_level(logging.INFO):
        looking = asyncio.create_task(keep_looking(look, 0, _log, "it can't be done"))
        await over.wait()
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    assert [record.getMessage() for record in caplog.records] == [
        "it can't be done: away",
        "it can't be done: that is over, the store answers",
        "it can't be done: away",
        "it can't be done: that is over, the store answers",
    ]
    assert looking.cancelled()
