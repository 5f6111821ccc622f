"""What works between the driver and readers that work."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.drivers.osdp.bench import bench, reader_config
from village_drivers.abilities import abilities_of
from village_drivers.kit import CardRead, KeysPressed, Refused
from village_drivers.osdp import commands, reader
from village_drivers.registry import DRIVERS
from village_wire.events import Alarm


def test_the_registry_names_the_driver() -> None:
    assert DRIVERS["osdp"].load().__name__ == "OsdpBus"


async def test_a_reader_comes_online_over_a_secure_channel() -> None:
    async with bench(reader_config(1, name="East gate")) as site:
        await site.log.state_is("r1", "works")
        assert "secure channel" in site.log.evidence("r1")
        await site.log.until(lambda: bool(site.log.readings) and "tamper" in site.log.last_reading("r1"))
        assert site.log.last_reading("r1") == {"online": True, "secure": True, "tamper": False, "power_fault": False}
        device = site.driver.devices()["r1"]
        assert (device.kind, device.name) == ("door_reader", "East gate")
        assert device.firmware == "11.12.13 (vendor cafe01, model 1.1, serial 01020305)"
        assert site.log.changes == 1
        assert abilities_of(device.handle) == ("door", "indicator")


async def test_a_card_is_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    async with bench(*(reader_config(address) for address in (1, 2, 3, 4))) as site:
        for address in (1, 2, 3, 4):
            await site.log.state_is(f"r{address}", "works")
        took = []
        for number in range(20):
            address = number % 4 + 1
            data = bytes([number, 0x12, 0x34, 0x40])
            begun = time.perf_counter()
            site.readers.readers[address].card(26, data)
            await site.log.heard(f"r{address}", CardRead(26, data))
            await site.door(f"r{address}").unlock(1)
            took.append((time.perf_counter() - begun) * 1000)
        with capsys.disabled():
            print(
                f"\ncard to acknowledged release, 4 readers: median {sorted(took)[10]:.0f} ms, longest {max(took):.0f} ms"
            )
        assert sorted(took)[10] < 100


async def test_text_of_a_card() -> None:
    async with bench(reader_config(1)) as site:
        await site.log.state_is("r1", "works")
        site.readers.readers[1].card(26, bytes.fromhex("00123456"))
        await site.log.until(lambda: bool(site.log.events))
        assert str(site.log.events[0][1]) == "26:00123456"


async def test_keys_are_translated() -> None:
    async with bench(reader_config(1)) as site:
        await site.log.state_is("r1", "works")
        site.readers.readers[1].keys("1234*#")
        await site.log.heard("r1", KeysPressed("1234*#"))


async def test_unlock_uses_the_readers_own_timer() -> None:
    async with bench(reader_config(1, output=1)) as site:
        await site.log.state_is("r1", "works")
        await site.door("r1").unlock(0.5)
        assert site.outputs(1) == [{"event": "output", "reader": 1, "output": 1, "on": True, "seconds": 0.5}]
        # The panel dies; the lock is secured all the same.
        site.run.cancel()
        await site.readers.until(lambda told: told["event"] == "output" and not told["on"])


async def test_a_long_release_is_renewed_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "MAX_TENTHS", 8)
    monkeypatch.setattr(reader, "_RENEW_SECONDS", 0.4)
    async with bench(reader_config(1)) as site:
        await site.log.state_is("r1", "works")
        begun = time.monotonic()
        await site.door("r1").unlock(1.5)
        await site.readers.until(lambda told: told["event"] == "output" and not told["on"])
        assert time.monotonic() - begun == pytest.approx(1.5, abs=0.25)
        assert len(site.outputs(1)) == 3


async def test_light_and_buzzer() -> None:
    async with bench(reader_config(1)) as site:
        await site.log.state_is("r1", "works")
        await site.indicator("r1").indicate("blue", buzzer=True, seconds=2)
        assert {"event": "led", "reader": 1, "colour": "blue", "seconds": 2.0} in site.readers.told
        assert {"event": "buzzer", "reader": 1, "seconds": 2.0} in site.readers.told


async def test_an_output_that_the_reader_lacks_is_refused() -> None:
    async with bench(reader_config(1, output=7)) as site:
        await site.log.state_is("r1", "works")
        with pytest.raises(Refused, match="number 7"):
            await site.door("r1").unlock(1)
        assert site.outputs(1) == []


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
async def test_an_impossible_time_is_refused(seconds: float) -> None:
    async with bench(reader_config(1)) as site:
        await site.log.state_is("r1", "works")
        with pytest.raises(Refused):
            await site.door("r1").unlock(seconds)


async def test_tamper_and_power_fault_begin_and_end() -> None:
    async with bench(reader_config(1)) as site:
        await site.log.state_is("r1", "works")
        emulated = site.readers.readers[1]
        emulated.tamper(on=True)
        await site.log.state_is("r1", "tamper")
        emulated.power(on=True)
        await site.log.until(lambda: site.log.last_reading("r1").get("power_fault") is True)
        emulated.tamper(on=False)
        await site.log.state_is("r1", "power_fault")
        emulated.power(on=False)
        await site.log.state_is("r1", "works")
        assert [event for _, event in site.log.events] == [
            Alarm(code="tamper", active=True),
            Alarm(code="power_fault", active=True),
            Alarm(code="tamper", active=False),
            Alarm(code="power_fault", active=False),
        ]


async def test_a_housing_that_was_open_before_the_start_is_noticed() -> None:
    async with bench(reader_config(1)) as site:
        site.readers.readers[1].offline()
        site.readers.readers[1].tamper(on=True)
        site.readers.readers[1].online()
        await site.log.state_is("r1", "tamper")


async def test_commands_at_the_same_time_are_all_executed() -> None:
    async with bench(*(reader_config(address) for address in (1, 2, 3))) as site:
        for address in (1, 2, 3):
            await site.log.state_is(f"r{address}", "works")
        await asyncio.gather(*(site.door(f"r{address}").unlock(1) for address in (1, 2, 3) for _ in range(3)))
        assert [len(site.outputs(address)) for address in (1, 2, 3)] == [3, 3, 3]
