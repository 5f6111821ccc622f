"""From the person who revokes a box to the closed connection: API, collector and mosquitto as they run at a site."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.agent.test_enrolled import village
from tests.collector.mosquitto.kit import answer_of
from tests.collector.mosquitto.test_revocation import TARGET_SECONDS, end_of, until_refused
from village_wire.address import SessionError, Subscription
from village_wire.connection import connect
from village_wire.outgoing import Publication


@pytest.mark.timeout(120)
async def test_a_person_revokes_a_box_and_it_is_off_within_seconds(tmp_path: Path) -> None:
    async with village(tmp_path) as it:
        await it.url()
        for agent in ("lin", "shan"):
            await it.site.enrol(agent)
        async with connect(it.site.session("lin")) as box, connect(it.site.session("shan")) as other:
            topic = "village/1/agent/shan/time"
            async with asyncio.timeout(20):
                while True:
                    try:
                        await other.publish(Publication(topic, b"{}"))
                        await box.publish(Publication("village/1/agent/lin/time", b"{}"))
                    except SessionError:
                        await asyncio.sleep(0.1)
                    else:
                        break
            await other.subscribe([Subscription("village/1/agent/shan/command")])
            began = time.monotonic()
            await it.request("POST", "/agents/lin/revoke")
            ended, refused = await asyncio.gather(end_of(box), until_refused(it.site, "lin"))
            print(f"closed {ended - began:.2f} s, refused {refused - began:.2f} s after the person's request")
            assert max(ended, refused) - began < TARGET_SECONDS
            await other.publish(Publication(topic, b"{}"))
        assert await asyncio.to_thread(answer_of, it.site.box("shan")) == "accepted"
