"""A lost box: how long until it is off, on a real mosquitto."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509

from tests.collector.mosquitto.kit import Site, answer_of, kept, site
from village_agent.app import SESSION_EXPIRY_SECONDS
from village_collector.mosquitto import keeper as keeping
from village_collector.mosquitto.keeper import CLOSED_FILE
from village_wire.address import SessionError, SessionSettings, Subscription
from village_wire.connection import Connection, connect
from village_wire.outgoing import Publication

#: From the revocation until the connection is closed and the certificate refused.
TARGET_SECONDS = 5.0


async def end_of(connection: Connection) -> float:
    """When the connection ended."""
    async with asyncio.timeout(20):
        with pytest.raises(SessionError):
            async for _ in connection.messages():
                pass
    return time.monotonic()


async def until_refused(site: Site, agent: str) -> float:
    async with asyncio.timeout(20):
        while await asyncio.to_thread(answer_of, site.box(agent)) != "SSLV3_ALERT_CERTIFICATE_REVOKED":
            await asyncio.sleep(0.05)
    return time.monotonic()


async def until_written(site: Site, text: str) -> None:
    async with asyncio.timeout(10):
        while text not in (site.files / "village.acl").read_text():
            await asyncio.sleep(0.02)


def listed(site: Site) -> set[int]:
    """Serial numbers on the list that the broker reads."""
    return {entry.serial_number for entry in x509.load_pem_x509_crl((site.files / "crl.pem").read_bytes())}


async def until_closed(site: Site, *serials: str) -> None:
    """The keeper has done with these certificates."""
    async with asyncio.timeout(15):
        while True:
            try:
                done = json.loads((site.data / CLOSED_FILE).read_bytes())["serials"]
            except OSError:
                done = []
            if set(serials) <= set(done):
                return
            await asyncio.sleep(0.02)


async def may_write(site: Site, agent: str, seconds: float = 10.0) -> bool:
    """Whether what the agent writes reaches the collector within this time."""
    topic = f"village/1/agent/{agent}/time"
    async with connect(SessionSettings(site.address, site.name)) as collector, connect(site.session(agent)) as box:
        await collector.subscribe([Subscription(topic)])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # Refused until the broker has read that it may.
            with suppress(SessionError):
                await box.publish(Publication(topic, b"here"))
            try:
                async with asyncio.timeout(0.3):
                    async for _ in collector.messages():
                        return True
            except TimeoutError:
                continue
    return False


async def test_a_box_may_write_soon_after_it_enrolled(tmp_path: Path) -> None:
    async with site(tmp_path) as it, kept(it):
        await it.enrol("lin")
        began = time.monotonic()
        assert await may_write(it, "lin")
        assert time.monotonic() - began < TARGET_SECONDS


async def test_a_revoked_box_is_cut_off_within_seconds_and_its_neighbour_is_not(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        lost = await it.enrol("lin")
        await it.enrol("shan")
        async with kept(it):
            assert await may_write(it, "lin")
            async with connect(it.session("lin")) as box, connect(it.session("shan")) as other:
                await other.subscribe([Subscription("village/1/agent/shan/command")])
                began = time.monotonic()
                await it.revoke("lin")
                ended, refused = await asyncio.gather(end_of(box), until_refused(it, "lin"))
                print(f"closed after {ended - began:.2f} s, refused after {refused - began:.2f} s")
                assert max(ended, refused) - began < TARGET_SECONDS
                await until_closed(it, lost.serial)
                await other.publish(Publication("village/1/agent/shan/time", b"still here"))
            assert await may_write(it, "shan")


async def test_a_revoked_box_that_comes_back_at_once_gets_in_no_more(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        lost = await it.enrol("lin")
        async with kept(it):
            assert await may_write(it, "lin")
            accepted = 0.0
            await it.revoke("lin")
            done = asyncio.create_task(until_closed(it, lost.serial))
            while not done.done():
                if await asyncio.to_thread(answer_of, it.box("lin"), "lin") == "accepted":
                    accepted = time.monotonic()
            finished = time.monotonic()
            await done
            assert accepted < finished
            for _ in range(5):
                assert await asyncio.to_thread(answer_of, it.box("lin"), "lin") == "SSLV3_ALERT_CERTIFICATE_REVOKED"


async def test_what_waited_for_a_revoked_box_is_thrown_away(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        lost = await it.enrol("lin")
        async with kept(it):
            assert await may_write(it, "lin")
            topic = "village/1/agent/lin/command"
            async with connect(it.session("lin", expiry=SESSION_EXPIRY_SECONDS)) as box:
                await box.subscribe([Subscription(topic)])
            async with connect(SessionSettings(it.address, it.name)) as collector:
                await collector.publish(Publication(topic, b"for the lost box"))
            await it.revoke("lin")
            await until_closed(it, lost.serial)
            # The same name, with a new box.
            await it.enrol("lin")
            await until_written(it, "user lin\n")
            assert await may_write(it, "lin")
            async with connect(it.session("lin", expiry=SESSION_EXPIRY_SECONDS)) as box:
                await box.subscribe([Subscription(topic)])
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await anext(aiter(box.messages()))


async def test_the_box_that_was_replaced_is_cut_off_and_the_new_one_works(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        old = await it.enrol("lin")
        async with kept(it):
            assert await may_write(it, "lin")
            (tmp_path / "lin.pem").rename(tmp_path / "old.pem")
            (tmp_path / "lin.key").rename(tmp_path / "old.key")
            async with connect(SessionSettings(it.box("old"), "lin")) as box:
                await it.enrol("lin")
                await end_of(box)
            await until_closed(it, old.serial)
            assert await asyncio.to_thread(answer_of, it.box("old"), "lin") == "SSLV3_ALERT_CERTIFICATE_REVOKED"
            assert await may_write(it, "lin")
        # A collector that starts again leaves the new box alone.
        async with connect(it.session("lin")) as box, kept(it):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await anext(aiter(box.messages()))


async def test_a_broker_that_was_away_refuses_the_lost_box_from_its_start_on(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        lost = await it.enrol("lin")
        async with kept(it) as keeper:
            assert await may_write(it, "lin")
            await it.broker.stop()
            await it.revoke("lin")
            async with asyncio.timeout(5):
                while int(lost.serial, 16) not in listed(it):
                    await asyncio.sleep(0.02)
            assert "user lin" not in (it.files / "village.acl").read_text()
            assert keeper.problems() == ()
            await it.broker.start()
            assert await asyncio.to_thread(answer_of, it.box("lin"), "lin") == "SSLV3_ALERT_CERTIFICATE_REVOKED"
            await until_closed(it, lost.serial)


async def test_a_collector_killed_between_list_and_end_ends_the_connection_later(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as it:
        lost = await it.enrol("lin")
        async with kept(it):
            assert await may_write(it, "lin")
        async with connect(it.session("lin")) as box:
            await it.revoke("lin")
            # Writes the files, asks for the reload, and is gone.
            await it.keeper().prepare()
            await until_refused(it, "lin")
            async with kept(it):
                await end_of(box)
                await until_closed(it, lost.serial)


async def test_two_revocations_in_one_second_both_count(tmp_path: Path) -> None:
    """Lists tell whole seconds; mosquitto must prefer the later one all the same."""
    async with site(tmp_path) as it:
        agents = [f"box-{number}" for number in range(4)]
        for agent in agents:
            await it.enrol(agent)
        keeper = it.keeper()
        await keeper.prepare()
        for agent in agents:
            await it.revoke(agent)
            await it.keeper().prepare()
            await until_refused(it, agent)
        assert {await asyncio.to_thread(answer_of, it.box(agent), agent) for agent in agents} == {
            "SSLV3_ALERT_CERTIFICATE_REVOKED"
        }


async def test_a_broker_that_does_not_read_shows_in_the_health_and_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "AGAIN_SECONDS", 0.5)
    monkeypatch.setattr(keeping, "LATE_SECONDS", 1.0)
    async with site(tmp_path) as it:
        lost = await it.enrol("lin")
        pid = it.files / "mosquitto.pid"
        number = pid.read_text()
        async with kept(it) as keeper:
            assert await may_write(it, "lin")
            # As for a mosquitto of another user, whose unit of systemd is missing.
            pid.unlink()
            await it.revoke("lin")
            async with asyncio.timeout(10):
                while not keeper.problems():
                    await asyncio.sleep(0.05)
            problem = keeper.problems()[0]
            assert (problem.part, problem.status) == ("broker", "degraded")
            assert "systemctl reload mosquitto" in problem.text
            inode = (it.files / "crl.pem").stat().st_ino
            async with asyncio.timeout(5):
                # Each new file wakes a unit that missed the last one.
                while (it.files / "crl.pem").stat().st_ino == inode:
                    await asyncio.sleep(0.05)
            os.kill(int(number), signal.SIGHUP)
            await until_closed(it, lost.serial)
            async with asyncio.timeout(5):
                while keeper.problems():
                    await asyncio.sleep(0.05)


async def test_the_broker_outlives_reloads_while_agents_are_away(tmp_path: Path) -> None:
    """mosquitto 2.0.11 does not, if their sessions end some day; `site` looks at its exit code."""
    async with site(tmp_path) as it:
        await it.enrol("lin")
        await it.enrol("shan")
        async with kept(it):
            assert await may_write(it, "lin")
            for _ in range(4):
                for agent in ("lin", "shan"):
                    async with connect(it.session(agent, expiry=SESSION_EXPIRY_SECONDS)) as box:
                        await box.subscribe([Subscription(f"village/1/agent/{agent}/command")])
                async with connect(SessionSettings(it.address, it.name)) as collector:
                    await collector.publish(Publication("village/1/agent/lin/command", b"waits"))
                    it.broker.process.send_signal(signal.SIGHUP)
                    await collector.publish(Publication("village/1/agent/shan/command", b"is lost"))
                it.broker.process.send_signal(signal.SIGHUP)
                async with connect(it.session("shan")):
                    pass
                async with connect(it.session("lin", expiry=SESSION_EXPIRY_SECONDS)) as box:
                    async with asyncio.timeout(5):
                        assert (await anext(aiter(box.messages()))).payload == b"waits"


async def test_files_that_cannot_be_written_show_in_the_health(tmp_path: Path) -> None:
    async with site(tmp_path) as it, kept(it) as keeper:
        it.files.rename(tmp_path / "moved")
        it.files.write_text("not a folder")
        await it.enrol("lin")
        async with asyncio.timeout(5):
            while not keeper.problems():
                await asyncio.sleep(0.05)
        assert "mosquitto setup" in keeper.problems()[0].text
        it.files.unlink()
        (tmp_path / "moved").rename(it.files)
        assert await may_write(it, "lin")
        assert keeper.problems() == ()
