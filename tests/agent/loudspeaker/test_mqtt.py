"""The real agent with loudspeakers that speak MQTT: broadcasts become speech, and receipts tell what it is worth."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.agent.collector import Collector, collector
from tests.agent.kit import until
from tests.agent.loudspeaker.audio_server import AudioServer, audio_server
from tests.agent.loudspeaker.recorded import rising, write_wav
from tests.agent.program import agent, configuration, online
from tests.peers.mosquitto import Mosquitto
from village_emulators.mqtt_loudspeakers import EmulatedLoudspeakers
from village_wire.broadcasts import FINAL
from village_wire.commands import Broadcast, Command, Stop, Target
from village_wire.events import CommandResult, Receipt

TOPIC = "village/1/agent/box/command"


def toml(table: dict[str, Any]) -> str:
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())


class Village:
    """A box, its collector, a broker on site, and the emulated loudspeakers there."""

    def __init__(self, far: Collector, site: Mosquitto, server: AudioServer, devices: EmulatedLoudspeakers) -> None:
        self.far, self.site, self.server, self.devices = far, site, server, devices
        self.changes: list[dict[str, Any]] = []

    async def send(self, device: str | None, wanted: Broadcast | Stop) -> UUID:
        now = datetime.now(UTC)
        expires = now + timedelta(minutes=2)
        target = Target(agent="box", device=device)
        command = Command(id=uuid4(), target=target, arguments=wanted, issuer="wang", issued=now, expires=expires)
        await self.far.send(command, TOPIC)
        return command.id

    async def broadcast(self, device: str | None, **fields: Any) -> UUID:
        now = datetime.now(UTC)
        wanted = {"rank": "notice", "chime": False, "end": now + timedelta(minutes=2), **fields}
        return await self.send(device, Broadcast.model_validate(wanted))

    def receipts(self, identity: UUID, device: str) -> list[Receipt]:
        found = sorted((event for event in self.far.events if event.device == device), key=lambda event: event.time)
        return [event.data for event in found if isinstance(event.data, Receipt) and event.data.broadcast == identity]

    def stages(self, identity: UUID, device: str) -> list[str]:
        return [receipt.stage for receipt in self.receipts(identity, device)]

    async def over(self, identity: UUID, device: str, seconds: float = 40) -> Receipt:
        try:
            await until(lambda: bool(set(self.stages(identity, device)) & set(FINAL)), seconds)
        except TimeoutError:
            told = "\n".join(f"{event.time} {event.device} {event.data!r}" for event in self.far.events)
            raise AssertionError(f"{device}: {identity} is not over\n{told}\n{self.changes}") from None
        last = self.receipts(identity, device)[-1]
        assert [stage for stage in self.stages(identity, device) if stage in FINAL] == [last.stage]
        return last

    def of(self, name: str) -> list[dict[str, Any]]:
        return [change for change in self.changes if change["device"] == name]

    def said(self, name: str) -> list[str]:
        return [change["said"] for change in self.of(name) if "said" in change]


@asynccontextmanager
async def village(folder: Path, **hermes: Any) -> AsyncIterator[Village]:
    (folder / "near").mkdir()
    async with Mosquitto(folder) as broker, Mosquitto(folder / "near") as site, collector(broker.url) as far:
        changes: list[dict[str, Any]] = []
        devices = EmulatedLoudspeakers(changes.append)
        devices.start(site.url)
        with audio_server() as server:
            found = Village(far, site, server, devices)
            found.changes = changes
            tables = [devices.topics.table(), {**devices.hermes.table(), **hermes}]
            text = f'\n[[devices]]\nid = "near"\ndriver = "mqtt"\nbroker = "{site.url}"\n'
            text += "".join(f"\n[[devices.loudspeakers]]\n{toml(table)}" for table in tables)
            text += '\n[[devices.speaks]]\nmatch = "emulated-panel"\nseconds_per_character = 0.06\n'
            config = configuration(folder, broker.url, f"{text}\n[outbox]\ndrain_spread_seconds = 0\n")
            config.write_text(config.read_text().replace("[collector]\n", f'[collector]\napi = "{server.url}"\n'))
            try:
                async with agent(config):
                    await online(far)
                    wanted = {"emulated-topics", "emulated-hermes", "emulated-panel"}
                    await until(
                        lambda: bool(far.inventories) and wanted <= {one.id for one in far.inventories[-1].devices}, 20
                    )
                    yield found
            finally:
                await asyncio.to_thread(devices.stop)


@pytest.mark.timeout(120)
async def test_a_text_is_spoken_everywhere_and_each_receipt_says_what_it_is_worth(tmp_path: Path) -> None:
    text = '通知："今晚八点" {开会}'
    async with village(tmp_path) as found:
        identity = await found.broadcast(None, text=text)
        worth = {
            "emulated-topics": "device reported busy ",
            "emulated-hermes": "device reported the end of the text after ",
            "emulated-panel": "sent, device online before and after; it does not tell whether it sounded",
        }
        for device, evidence in worth.items():
            last = await found.over(identity, device)
            assert last.stage == "finished", last
            assert last.evidence.startswith(evidence)
            assert found.stages(identity, device) == ["queued", "started", "finished"]
            assert found.said(device) == [text]


@pytest.mark.timeout(120)
async def test_an_emergency_goes_first_and_the_text_goes_on_at_its_sentence(tmp_path: Path) -> None:
    # The second one is spoken for five seconds, in which the emergency arrives.
    sentences = [f"第{number}句" + "话" * words + "。" for number, words in (("一", 7), ("二", 97), ("三", 7))]
    async with village(tmp_path) as found:
        lasting = await found.broadcast("emulated-topics", text="".join(sentences), rank="routine")
        await until(lambda: len(found.said("emulated-topics")) == 2, 20)
        urgent = await found.broadcast("emulated-topics", text="山洪来了", rank="emergency")
        assert (await found.over(urgent, "emulated-topics")).stage == "finished"
        assert (await found.over(lasting, "emulated-topics")).stage == "finished"
        assert found.said("emulated-topics") == [*sentences[:2], "山洪来了", *sentences[1:]]
        assert found.stages(lasting, "emulated-topics") == ["queued", "started", "paused", "resumed", "finished"]
        assert not [change for change in found.changes if "overlap" in change]


@pytest.mark.timeout(120)
async def test_a_file_is_heard_whole_though_an_emergency_interrupts_it(tmp_path: Path) -> None:
    async with village(tmp_path) as found:
        digest = (await asyncio.to_thread(write_wav, tmp_path / "tone", rising(9))).sha256
        audio = found.server.add((tmp_path / digest).read_bytes(), 9)
        playing = await found.broadcast("emulated-hermes", audio=audio, chime=True)
        await until(lambda: len([one for one in found.of("emulated-hermes") if "played" in one]) >= 2, 30)
        urgent = await found.broadcast("emulated-hermes", text="山洪来了", rank="emergency", chime=False)
        assert (await found.over(urgent, "emulated-hermes")).stage == "finished"
        last = await found.over(playing, "emulated-hermes")
        assert last.stage == "finished"
        assert last.evidence.startswith("device reported the end of each of ")
        assert not [change for change in found.changes if "overlap" in change]
        played = [change["played"] for change in found.of("emulated-hermes") if "played" in change]
        # The chime, and nothing of the tone twice.
        assert 9.0 < sum(played) < 9.0 + 3.5


@pytest.mark.timeout(120)
async def test_the_box_speaks_for_a_device_without_a_voice(tmp_path: Path) -> None:
    async with village(tmp_path, own_voice=False) as found:
        identity = await found.broadcast("emulated-hermes", text="请注意")
        last = await found.over(identity, "emulated-hermes")
        assert last.stage == "finished"
        assert last.evidence.startswith("device reported the end of ")
        assert found.said("emulated-hermes") == []
        assert [change for change in found.of("emulated-hermes") if "played" in change]


@pytest.mark.timeout(120)
async def test_a_broadcast_outlives_the_broker_on_site(tmp_path: Path) -> None:
    sentences = [f"第{number}句" + "话" * 37 + "。" for number in "一二"]
    async with village(tmp_path) as found:
        identity = await found.broadcast("emulated-topics", text="".join(sentences))
        await until(lambda: len(found.said("emulated-topics")) == 2, 20)
        await found.site.kill()
        await until(lambda: "paused" in found.stages(identity, "emulated-topics"), 20)
        assert "connection" in found.receipts(identity, "emulated-topics")[-1].reason
        await found.site.start()
        assert (await found.over(identity, "emulated-topics", 60)).stage == "finished"
        # The sentence that was cut off from its proof is spoken again.
        assert found.said("emulated-topics") == [*sentences, sentences[1]]
        assert not [change for change in found.changes if "overlap" in change]


@pytest.mark.timeout(120)
async def test_stop_silences_or_says_that_it_cannot(tmp_path: Path) -> None:
    async with village(tmp_path) as found:
        found.devices.hermes.seconds_per_character = 0.2
        texts = {name: await found.broadcast(name, text="话" * 60) for name in ("emulated-topics", "emulated-hermes")}
        await until(lambda: all(found.said(name) for name in texts), 20)
        stops = {name: await found.send(name, Stop()) for name in texts}

        def results() -> dict[UUID, CommandResult]:
            found_ = [event.data for event in found.far.events if isinstance(event.data, CommandResult)]
            return {one.command: one for one in found_ if one.outcome != "accepted"}

        await until(lambda: set(stops.values()) <= set(results()), 20)
        assert results()[stops["emulated-topics"]].outcome == "done"
        refused = results()[stops["emulated-hermes"]]
        assert refused.outcome != "done"
        assert "can't be silenced" in refused.reason
        for name, identity in texts.items():
            assert (await found.over(identity, name)).stage == "cancelled"
        assert found.of("emulated-topics")[-1] == {"device": "emulated-topics", "silent": True, "cut": True}
