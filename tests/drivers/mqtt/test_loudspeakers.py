"""Loudspeakers on a real broker: each way of speaking, and what goes wrong with it."""

from __future__ import annotations

import array
import asyncio
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError

from tests.drivers.mqtt.test_driver import _driver, _Heard
from tests.drivers.recorder import Recorder, running
from tests.peers.mosquitto import Mosquitto
from village_agent.site_broker import AgentServices
from village_drivers.abilities import FilePlayer, Loudspeaker, abilities_of
from village_drivers.kit import BrokerPort, BrokerSettings, NotConnected, Refused
from village_drivers.mqtt import speaker as module
from village_drivers.mqtt.config import MqttConfig
from village_drivers.mqtt.driver import MqttDevices
from village_drivers.mqtt.hermes_player import FORM, cut, pieces
from village_drivers.mqtt.loudspeaker_tables import LoudspeakerTable, SpeaksTable
from village_emulators.mqtt_loudspeakers import EmulatedLoudspeakers

BLIND = {"id": "blind", "say_topic": "blind/say", "without_feedback": True, "seconds_per_character": 0.02}


class Bench:
    """A broker, the three emulated loudspeakers, and the driver."""

    def __init__(self, broker: Mosquitto, folder: Path, site: EmulatedLoudspeakers, heard: _Heard) -> None:
        self.broker, self.site, self.heard = broker, site, heard
        self.report = Recorder()
        tables = [site.topics.table(), site.hermes.table(), BLIND]
        speaks = [{"match": "emulated-panel", "seconds_per_character": 0.06}]
        self.driver: MqttDevices = _driver(broker, folder, loudspeakers=tables, speaks=speaks)

    def speaker(self, name: str) -> Loudspeaker:
        handle = self.driver.devices()[name].handle
        assert isinstance(handle, Loudspeaker)
        return handle

    async def say(self, name: str, text: str, volume: float | None = None) -> str:
        async with asyncio.timeout(20):
            return await self.speaker(name).say(text, volume)

    def of(self, name: str) -> list[dict[str, Any]]:
        return [change for change in self.heard.changes if change["device"] == f"emulated-{name}"]

    def said(self, name: str) -> list[str]:
        return [change["said"] for change in self.of(name) if "said" in change]

    async def ready(self) -> None:
        names = ("emulated-topics", "emulated-hermes", "emulated-panel")
        await self.report.until(lambda: all(self.report.status(name) == "ok works" for name in names), 10)


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    async with Mosquitto(folder) as broker:
        heard = _Heard()
        site = EmulatedLoudspeakers(heard)
        site.start(broker.url)
        found = Bench(broker, folder, site, heard)
        try:
            async with running(found.driver, found.report, may_end=True):
                await found.ready()
                yield found
        finally:
            await asyncio.to_thread(site.stop)


@asynccontextmanager
async def listening(broker: Mosquitto, folder: Path, *topics: str) -> AsyncIterator[BrokerPort]:
    async with AgentServices("listener", folder).connect_broker(BrokerSettings(broker.url)) as port:
        for topic in topics:
            await port.subscribe(topic)
        yield port


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "needs say_topic"),
        ({"say_topic": "a/+", "without_feedback": True}, "no \\+"),
        ({"say_topic": "a", "say_payload": "hello", "without_feedback": True}, "no {text}"),
        ({"say_topic": "a", "say_payload": '{"t": {text}}', "without_feedback": True}, "looks like JSON"),
        ({"say_topic": "a"}, "without_feedback = true"),
        ({"say_topic": "cmnd/x/Backlog", "without_feedback": True}, "Backlog"),
        ({"say_topic": "a", "state_topic": "b", "state_busy": ["1"], "state_idle": ["1"]}, "both busy and idle"),
        ({"protocol": "hermes", "say_topic": "a"}, "remove say_topic"),
        ({"protocol": "hermes", "site": "a/b"}, "site"),
    ],
)
def test_wrong_tables_are_named(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MqttConfig.model_validate(
            {"id": "site", "driver": "mqtt", "broker": "mqtt://x", "loudspeakers": [{"id": "a", **table}]}
        )


def test_every_setting_has_a_description_and_an_example() -> None:
    for table in (LoudspeakerTable, SpeaksTable):
        for name, field in table.model_fields.items():
            assert field.description, name
            assert field.examples, name


async def test_they_stand_in_the_inventory(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        await found.report.until(lambda: len(found.driver.devices()) == 4)
        assert {
            name: (device.kind, abilities_of(device.handle)) for name, device in found.driver.devices().items()
        } == {
            "emulated-topics": ("loudspeaker", ("loudspeaker",)),
            "emulated-hermes": ("loudspeaker", ("loudspeaker", "file_player")),
            "emulated-panel": ("loudspeaker", ("loudspeaker",)),
            "blind": ("loudspeaker", ("loudspeaker",)),
        }


async def test_notify_entity_that_nobody_names_is_left_alone(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker:
        site = EmulatedLoudspeakers(_Heard())
        site.panel.start(broker.url)
        try:
            driver, report = _driver(broker, tmp_path), Recorder()
            async with running(driver, report, may_end=True):
                await asyncio.sleep(1.0)
                assert driver.devices() == {}
        finally:
            await asyncio.to_thread(site.panel.stop)


async def test_device_with_a_state_proves_that_it_spoke(tmp_path: Path) -> None:
    hostile = 'say "stop", {text} {"a": 1}\n危险 \\ end'
    async with bench(tmp_path) as found:
        evidence = await found.say("emulated-topics", hostile, 50)
        assert evidence.startswith("device reported busy ")
        assert evidence.endswith("s, then idle")
        assert found.of("topics") == [
            {"device": "emulated-topics", "said": hostile, "volume": 15},
            {"device": "emulated-topics", "silent": True, "cut": False},
        ]
        readings = [fields for name, _, fields in found.report.readings if name == "emulated-topics"]
        assert {"busy": True, "volume_percent": 50.0} in readings
        assert readings[-1] == {"busy": False, "volume_percent": 50.0}


async def test_hermes_proves_the_end(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        evidence = await found.say("emulated-hermes", "请注意，今晚有大风", 100)
        assert evidence.startswith("device reported the end of the text after ")
        assert found.of("hermes")[0] == {"device": "emulated-hermes", "said": "请注意，今晚有大风", "volume": 1.0}


async def test_without_a_sign_the_evidence_says_so_and_texts_do_not_overlap(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        first, second = await asyncio.gather(
            found.say("emulated-panel", "first text"), found.say("emulated-panel", "second text")
        )
        assert first.startswith("sent, device online before and after; it does not tell whether it sounded")
        assert "length estimated: 1.1 s" in first
        assert second.startswith("sent")
        assert found.said("panel") == ["first text", "second text"]
        assert not [change for change in found.of("panel") if "overlap" in change]


async def test_blind_device_needs_a_listener(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        with pytest.raises(NotConnected, match="nobody listens at blind/say"):
            await found.say("blind", "hello")
        assert found.report.status("blind") == "down device_offline"
        async with listening(found.broker, tmp_path, "blind/say") as port:
            evidence = await found.say("blind", "hello")
            message = await anext(port.messages())
        assert evidence.startswith("sent, and the broker has a listener; this device tells nothing")
        assert (message.payload, message.retained) == (b"hello", False)
        assert found.report.status("blind") == "unknown not_reported"


async def test_stop_silences_and_refuses_what_was_spoken(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        saying = asyncio.create_task(found.say("emulated-topics", "x" * 200))
        await found.heard.until(lambda: bool(found.said("topics")))
        await found.speaker("emulated-topics").stop()
        with pytest.raises(Refused) as caught:
            await saying
        assert caught.value.code == "silenced"
        assert found.of("topics")[-1] == {"device": "emulated-topics", "silent": True, "cut": True}


async def test_cancelling_silences(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        saying = asyncio.create_task(found.say("emulated-topics", "x" * 200))
        await found.report.until(lambda: bool(found.said("topics")) and found.report.readings[-1][2]["busy"] is True)
        saying.cancel()
        await asyncio.wait([saying])
        await found.heard.until(lambda: "silent" in found.of("topics")[-1])
        assert found.of("topics")[-1]["cut"]
        await found.say("emulated-topics", "after")
        assert not [change for change in found.of("topics") if "overlap" in change]


async def test_what_cannot_be_silenced_refuses_to_stop_and_is_waited_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        found.site.hermes.seconds_per_character = 0.1
        saying = asyncio.create_task(found.say("emulated-hermes", "x" * 40))
        await found.heard.until(lambda: bool(found.said("hermes")))
        saying.cancel()
        await asyncio.wait([saying])
        with pytest.raises(Refused, match="can't be silenced"):
            await found.speaker("emulated-hermes").stop()
        # Four seconds are more than it waits by itself.
        with pytest.raises(NotConnected) as caught:
            await found.say("emulated-hermes", "next")
        assert caught.value.code == "busy"
        await found.say("emulated-hermes", "next")
        assert found.said("hermes") == ["x" * 40, "next"]
        assert not [change for change in found.of("hermes") if "overlap" in change]


async def test_device_that_is_switched_off_is_not_believed(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        found.site.obey("off emulated-hermes on")
        with pytest.raises(Refused, match="is it switched off"):
            await found.say("emulated-hermes", "x" * 60)
        assert found.report.status("emulated-hermes") == "degraded rejected"


async def test_device_that_says_that_it_failed(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        found.site.obey("fail emulated-hermes on")
        with pytest.raises(Refused, match="the device says: no voice"):
            await found.say("emulated-hermes", "hello")
        found.site.obey("fail emulated-hermes off")
        await found.say("emulated-hermes", "hello")


async def test_device_that_never_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEGIN_SECONDS", 0.4)
    async with bench(tmp_path) as found:
        found.site.obey("deaf emulated-topics on")
        with pytest.raises(Refused, match=r"did not tell within 0\.4 s that it speaks"):
            await found.say("emulated-topics", "hello")


@pytest.mark.parametrize("name", ["topics", "hermes", "panel"])
async def test_device_that_dies_while_it_speaks(tmp_path: Path, name: str) -> None:
    async with bench(tmp_path) as found:
        await found.report.until(lambda: len(found.driver.devices()) == 4)
        device = next(one for one in found.site.devices if one.name == f"emulated-{name}")
        saying = asyncio.create_task(found.say(f"emulated-{name}", "x" * 100))
        await found.heard.until(lambda: bool(found.said(name)))
        await asyncio.to_thread(device.die)
        with pytest.raises(NotConnected, match="offline") as caught:
            await saying
        assert caught.value.code == "device_offline"
        await found.report.until(lambda: found.report.status(f"emulated-{name}") == "down device_offline")
        with pytest.raises(NotConnected):
            await found.say(f"emulated-{name}", "hello")


async def test_broker_that_restarts_while_it_speaks(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker:
        heard = _Heard()
        site = EmulatedLoudspeakers(heard)
        site.start(broker.url)
        found = Bench(broker, tmp_path, site, heard)
        try:
            async with running(found.driver, found.report, may_end=True) as task:
                await found.ready()
                saying = asyncio.create_task(found.say("emulated-topics", "x" * 100))
                await heard.until(lambda: bool(found.said("topics")))
                await broker.kill()
                with pytest.raises(NotConnected) as caught:
                    await saying
                assert caught.value.code == "broker_lost"
                await asyncio.wait([task])
            await broker.start()
            found.report.states.clear()
            async with running(found.driver, found.report, may_end=True):
                await found.ready()
                # It spoke on meanwhile; that is silenced, or over, before the next text.
                await found.say("emulated-topics", "after")
            assert found.said("topics")[-1] == "after"
            assert not [change for change in heard.changes if "overlap" in change]
        finally:
            await asyncio.to_thread(site.stop)


async def test_state_that_the_broker_kept_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEGIN_SECONDS", 0.4)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.4)
    table = {"id": "old", "say_topic": "old/say", "state_topic": "old/state"}
    async with Mosquitto(tmp_path) as broker, listening(broker, tmp_path, "old/say") as port:
        await port.publish("old/state", b"playing", retain=True)
        driver, report = _driver(broker, tmp_path, loudspeakers=[table]), Recorder()
        async with running(driver, report, may_end=True):
            await report.until(lambda: "old" in report.states)
            speaker = cast("Loudspeaker", driver.devices()["old"].handle)
            with pytest.raises(Refused, match="did not tell"):
                await speaker.say("hello", None)
            assert not [fields for name, _, fields in report.readings if name == "old"]


async def test_driver_that_ends_silences(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        saying = asyncio.create_task(found.say("emulated-topics", "x" * 200))
        await found.heard.until(lambda: bool(found.said("topics")))
        await _end(found)
        with pytest.raises(NotConnected):
            await saying
        await found.heard.until(lambda: found.of("topics")[-1].get("cut") is True)


async def _end(found: Bench) -> None:
    task = next(task for task in asyncio.all_tasks() if task.get_name() == "driver under test")
    task.cancel()
    await asyncio.wait([task])


def tone(path: Path, seconds: float, rate: int = 48_000) -> Path:
    """A sound whose samples rise, with a quiet place at 2.5 s."""
    samples = array.array("h", (1000 + at % 20_000 for at in range(round(seconds * rate))))
    for at in range(round(2.48 * rate), min(len(samples), round(2.52 * rate))):
        samples[at] = 0
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


async def test_hermes_plays_a_file_piece_by_piece(tmp_path: Path) -> None:
    path = await asyncio.to_thread(tone, tmp_path / "tone.wav", 5.0)
    async with bench(tmp_path) as found:
        player = found.driver.devices()["emulated-hermes"].handle
        assert isinstance(player, FilePlayer)
        evidence = await player.play_from(str(path), 100, 0.0)
        assert evidence == "device reported the end of each of 2 pieces of the sound, 5.0 s"
        assert player.position_seconds == pytest.approx(5.0, abs=0.02)
        played = [change for change in found.of("hermes") if "played" in change]
        assert [round(change["played"], 1) for change in played] == [2.5, 2.5]
        assert {change["rate"] for change in played} == {16_000}
        whole = b"".join(bytes.fromhex(change["samples"]) for change in played)
        assert len(whole) == pytest.approx(5.0 * FORM.bytes_per_second, abs=64)
        assert await player.play_from(str(path), 100, 4.0) == "device reported the end of 1 piece of the sound, 1.0 s"


async def test_interrupted_file_goes_on_where_the_device_confirmed_it(tmp_path: Path) -> None:
    path = await asyncio.to_thread(tone, tmp_path / "tone.wav", 8.0)
    async with bench(tmp_path) as found:
        player = cast("FilePlayer", found.driver.devices()["emulated-hermes"].handle)
        playing = asyncio.create_task(player.play_from(str(path), None, 0.0))
        await found.heard.until(lambda: bool(found.of("hermes")))
        assert player.position_seconds == 0.0
        playing.cancel()
        await asyncio.wait([playing])
        assert player.position_seconds == pytest.approx(2.5, abs=0.03)
        assert found.of("hermes")[-1] == {"device": "emulated-hermes", "silent": True, "cut": False}
        await found.say("emulated-hermes", "emergency")
        await player.play_from(str(path), None, player.position_seconds)
        played = [change["played"] for change in found.of("hermes") if "played" in change]
        assert sum(played) == pytest.approx(8.0, abs=0.05)
        assert not [change for change in found.of("hermes") if "overlap" in change]


async def test_file_on_a_device_that_is_switched_off(tmp_path: Path) -> None:
    path = await asyncio.to_thread(tone, tmp_path / "tone.wav", 1.0)
    async with bench(tmp_path) as found:
        player = cast("FilePlayer", found.driver.devices()["emulated-hermes"].handle)
        found.site.obey("off emulated-hermes on")
        with pytest.raises(Refused, match="is it switched off"):
            await player.play_from(str(path), None, 0.0)
        assert player.position_seconds == 0.0


class _Samples:
    def __init__(self, blocks: list[bytes]) -> None:
        self._blocks = blocks

    async def read(self) -> bytes:
        return self._blocks.pop(0) if self._blocks else b""


@pytest.mark.parametrize("count", [0, 1, 149, 150, 151, 199, 200, 201, 1000])
async def test_pieces_are_the_sound(count: int) -> None:
    blocks = [bytes([at % 251]) * FORM.block_bytes for at in range(count)]
    found = [piece async for piece in pieces(_Samples(list(blocks)))]
    assert b"".join(found) == b"".join(blocks)
    assert all(len(piece) <= 3 * FORM.bytes_per_second for piece in found)
    assert all(len(piece) >= FORM.bytes_per_second for piece in found[:-1])


def test_cut_is_at_the_quietest_place() -> None:
    loud, quiet = b"\x00\x40" * 320, b"\0\0" * 320
    assert cut([loud] * 120 + [quiet] + [loud] * 29, 50) == 121
    assert cut([loud] * 150, 50) == 150
    assert cut([quiet] + [loud] * 149, 50) == 150


async def test_nothing_is_retained(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        await found.say("emulated-topics", "one")
        await found.say("emulated-hermes", "two")
        async with listening(
            found.broker, tmp_path, "hermes/#", "village-emulator/+/say", "village-emulator/+/volume"
        ) as port:
            await port.publish("hermes/last", json.dumps("now").encode())
            assert (await anext(port.messages())).topic == "hermes/last"
