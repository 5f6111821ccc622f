from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.drivers.mqtt.kit import emulators, make_driver
from tests.drivers.mqtt.messages import CASES, expected_of, messages_of
from tests.drivers.recorder import Recorder, ended, running
from tests.peers.mosquitto import Mosquitto
from village_agent.site_broker import AgentServices
from village_drivers.abilities import Door, Switch, abilities_of
from village_drivers.kit import BrokerSettings, Driver, Misconfigured, NotConnected
from village_drivers.mqtt import driver as module
from village_drivers.mqtt.config import MqttConfig
from village_drivers.mqtt.driver import MqttDevices
from village_drivers.registry import DRIVERS


async def _all_ok(driver: Driver, report: Recorder) -> None:
    names = ("emulated-lock", "emulated-siren", "emulated-thermometer")
    await report.until(lambda: all(report.status(name) == "ok works" for name in names), 10)
    await report.until(lambda: len(driver.devices()) == 3)


def _kinds(driver: Driver) -> dict[str, tuple[str, list[str]]]:
    return {name: (device.kind, list(abilities_of(device.handle))) for name, device in driver.devices().items()}


def _door(driver: Driver) -> Door:
    handle = driver.devices()["emulated-lock"].handle
    assert isinstance(handle, Door)
    return handle


def _siren(driver: Driver) -> Switch:
    handle = driver.devices()["emulated-siren"].handle
    assert isinstance(handle, Switch)
    return handle


def test_it_stands_in_the_registry() -> None:
    assert DRIVERS["mqtt"].load() is MqttDevices


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"broker": "http://x"}, "mqtt://"),
        ({"broker": "mqtt://"}, "mqtt://"),
        ({"broker": "mqtt://user:secret@x"}, "keys of their own"),
        ({"password": "a", "password_file": "/b"}, "either `password`"),
        ({"discovery_prefix": "ha/#"}, "discovery_prefix"),
        ({"discovery_prefix": "$share/x"}, "discovery_prefix"),
        ({"max_devices": 0}, "max_devices"),
    ],
)
def test_wrong_settings_are_named(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MqttConfig.model_validate({"id": "site", "driver": "mqtt", "broker": "mqtt://x", **more})


def test_every_field_has_a_description_and_an_example() -> None:
    for name, field in MqttConfig.model_fields.items():
        if name not in {"id", "name", "tags"}:
            assert field.description, name
            assert field.examples, name


async def test_devices_announce_themselves(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, emulators(broker) as (site, _):
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True):
            await _all_ok(driver, report)
            assert {name: (device.kind, abilities_of(device.handle)) for name, device in driver.devices().items()} == {
                "emulated-lock": ("lock", ("door",)),
                "emulated-siren": ("siren", ("switch",)),
                "emulated-thermometer": ("sensor", ()),
            }
            site.obey("temperature -3.5")
            await report.until(lambda: ("emulated-thermometer", "sensor", {"temperature_c": -3.5}) in report.readings)


async def test_broker_without_devices_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK_SECONDS", 0.05)
    async with Mosquitto(tmp_path) as broker:
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True):
            await report.until(lambda: report.status("site") == "degraded not_announced")


async def test_switch_is_confirmed(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, emulators(broker) as (_, heard):
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True):
            await _all_ok(driver, report)
            await _siren(driver).switch(True)
            assert heard.changes == [{"device": "emulated-siren", "on": True}]
            assert report.readings[-1] == ("emulated-siren", "switch", {"on": True})
            await _siren(driver).switch(False)
            assert heard.changes[-1] == {"device": "emulated-siren", "on": False}


async def test_lock_opens_and_is_secured(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, emulators(broker) as (_, heard):
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True):
            await _all_ok(driver, report)
            await _door(driver).unlock(0.3)
            assert heard.changes == [{"device": "emulated-lock", "locked": False}]
            await heard.until(lambda: len(heard.changes) == 2)
            assert heard.changes[1] == {"device": "emulated-lock", "locked": True}
            await report.until(lambda: report.readings[-1] == ("emulated-lock", "lock", {"locked": True}))


async def test_second_unlock_prolongs_the_first(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, emulators(broker) as (_, heard):
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True):
            await _all_ok(driver, report)
            await _door(driver).unlock(0.2)
            await _door(driver).unlock(0.8)
            start = asyncio.get_running_loop().time()
            await heard.until(lambda: heard.changes[-1]["locked"])
            assert asyncio.get_running_loop().time() - start > 0.5
            assert [change["locked"] for change in heard.changes] == [False, False, True]


async def test_lock_is_secured_when_the_driver_stops(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, emulators(broker) as (_, heard):
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True):
            await _all_ok(driver, report)
            await _door(driver).unlock(60)
        await heard.until(lambda: heard.changes[-1]["locked"])
        with pytest.raises(NotConnected):
            await _door(driver).unlock(1)


async def test_lock_left_open_by_a_power_cut_is_secured_by_the_next_start(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, emulators(broker) as (_site, heard):
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True) as task:
            await _all_ok(driver, report)
            await _door(driver).unlock(60)
            # The lock hears nothing of the end, as if the box had lost power.
            await broker.kill()
            assert (await ended(task)).code == "broker_lost"
        assert (tmp_path / "site.json").exists()
        await broker.start()
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True):
            await heard.until(lambda: heard.changes[-1]["locked"])
            await report.until(lambda: report.status("emulated-lock") == "ok works", 10)
            async with asyncio.timeout(10):
                while (tmp_path / "site.json").exists():
                    await asyncio.sleep(0.02)


async def test_deaf_device_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONFIRM_SECONDS", 0.3)
    async with Mosquitto(tmp_path) as broker, emulators(broker) as (site, _):
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True):
            await _all_ok(driver, report)
            site.obey("deaf emulated-lock on")
            with pytest.raises(NotConnected, match="did not confirm") as caught:
                await _door(driver).unlock(5)
            assert caught.value.code == "no_answer"


async def test_lock_that_cannot_be_secured_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONFIRM_SECONDS", 0.3)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)
    async with Mosquitto(tmp_path) as broker, emulators(broker) as (site, heard):
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True):
            await _all_ok(driver, report)
            await _door(driver).unlock(0.5)
            site.obey("deaf emulated-lock on")
            await report.until(lambda: report.status("emulated-lock") == "degraded no_answer", 10)
            site.obey("deaf emulated-lock off")
            await report.until(lambda: report.status("emulated-lock") == "ok works", 10)
            assert heard.changes[-1]["locked"]


async def test_device_that_dies_is_offline_by_its_last_will(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, emulators(broker) as (site, _):
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True):
            await _all_ok(driver, report)
            await asyncio.to_thread(site.siren.die)
            await report.until(lambda: report.status("emulated-siren") == "down device_offline", 10)
            with pytest.raises(NotConnected) as caught:
                await _siren(driver).switch(True)
            assert caught.value.code == "device_offline"


async def test_killed_broker_ends_the_driver_and_waiting_commands(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, emulators(broker) as (site, _):
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True) as task:
            await _all_ok(driver, report)
            site.obey("deaf emulated-siren on")
            switching = asyncio.create_task(_siren(driver).switch(True))
            await asyncio.sleep(0.2)
            await broker.kill()
            with pytest.raises(NotConnected) as caught:
                await switching
            assert caught.value.code == "broker_lost"
            assert (await ended(task)).code == "broker_lost"
        await broker.start()
        async with running(driver, report, may_end=True):
            report.states.clear()
            await _all_ok(driver, report)


async def test_cancelled_command_leaves_nothing_behind(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, emulators(broker) as (site, _):
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with running(driver, report, may_end=True):
            await _all_ok(driver, report)
            site.obey("deaf emulated-siren on")
            switching = asyncio.create_task(_siren(driver).switch(True))
            await asyncio.sleep(0.1)
            switching.cancel()
            await asyncio.wait([switching])
            site.obey("deaf emulated-siren off")
            await _siren(driver).switch(True)


async def test_broker_that_is_not_there(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    driver = make_driver(broker, tmp_path)
    with pytest.raises(NotConnected) as caught:
        await driver.run(Recorder())
    assert caught.value.code == "broker_lost"


async def test_wrong_password_is_the_configurations_fault(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong\n")
    async with Mosquitto(tmp_path, "allow_anonymous false\n") as broker:
        driver = make_driver(broker, tmp_path, username="x", password_file=str(tmp_path / "password"))
        with pytest.raises(Misconfigured) as caught:
            await driver.run(Recorder())
        assert caught.value.code == "unauthorised"
        assert "wrong" not in str(caught.value)


async def test_password_file_that_is_not_there(tmp_path: Path) -> None:
    driver = make_driver(Mosquitto(tmp_path), tmp_path, password_file=str(tmp_path / "absent"))
    with pytest.raises(Misconfigured, match="absent"):
        await driver.run(Recorder())


async def test_recorded_devices_through_a_real_broker(tmp_path: Path) -> None:
    expected: dict[str, Any] = {}
    for case in CASES:
        expected |= expected_of(case)["devices"]
    async with Mosquitto(tmp_path) as broker:
        driver, report = make_driver(broker, tmp_path), Recorder()
        async with AgentServices("recorder", tmp_path).connect_broker(BrokerSettings(broker.url)) as port:
            for case in CASES:
                for message in messages_of(case):
                    if message.retained:
                        await port.publish(message.topic, message.payload, retain=True)
            async with running(driver, report, may_end=True):
                wanted = {name: (device["kind"], device["abilities"]) for name, device in expected.items()}
                await report.until(lambda: _kinds(driver) == wanted, 10)
                await port.publish("homeassistant/lock/0x000d6f00110bca8b/lock/config", b"", retain=True)
                await report.until(lambda: driver.devices()["front-door"].kind == "sensor")
            assert not [event for _, event in report.events if event.__class__.__name__ == "ButtonPressed"]


async def test_devices_that_keep_no_announcement_are_asked_for_it(tmp_path: Path) -> None:
    async with (
        Mosquitto(tmp_path) as broker,
        AgentServices("listener", tmp_path).connect_broker(BrokerSettings(broker.url)) as port,
    ):
        await port.subscribe("homeassistant/status")
        async with running(make_driver(broker, tmp_path), Recorder(), may_end=True):
            async with asyncio.timeout(10):
                message = await anext(port.messages())
        assert (message.payload, message.retained) == (b"online", False)
