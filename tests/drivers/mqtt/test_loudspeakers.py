"""Loudspeakers on a real broker: each way of speaking, and what goes wrong with it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import cast

import pytest

from tests.drivers.mqtt.kit import Heard, make_driver
from tests.drivers.mqtt.loudspeaker_bench import Bench, bench, listening
from tests.drivers.recorder import Recorder, running
from tests.peers.mosquitto import Mosquitto
from village_drivers.abilities import Loudspeaker, abilities_of
from village_drivers.kit import NotConnected, Refused
from village_drivers.mqtt import speaker as module
from village_emulators.mqtt_loudspeakers import EmulatedLoudspeakers


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
        site = EmulatedLoudspeakers(Heard())
        site.panel.start(broker.url)
        try:
            driver, report = make_driver(broker, tmp_path), Recorder()
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
        cut = {"device": "emulated-topics", "silent": True, "cut": True}
        await found.heard.until(lambda: found.of("topics")[-1] == cut)


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
        heard = Heard()
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
        driver, report = make_driver(broker, tmp_path, loudspeakers=[table]), Recorder()
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


async def test_nothing_is_retained(tmp_path: Path) -> None:
    async with bench(tmp_path) as found:
        await found.say("emulated-topics", "one")
        await found.say("emulated-hermes", "two")
        async with listening(
            found.broker, tmp_path, "hermes/#", "village-emulator/+/say", "village-emulator/+/volume"
        ) as port:
            await port.publish("hermes/last", json.dumps("now").encode())
            assert (await anext(port.messages())).topic == "hermes/last"
