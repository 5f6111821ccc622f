"""What happens when readers, line or keys fail."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path

import pytest

from tests.drivers.osdp.bench import KEY, OTHER_KEY, Log, bench, bus, reader_config
from village_drivers.kit import CardRead, Misconfigured, NotConnected
from village_drivers.osdp import bus as bus_module
from village_emulators.line import Cable
from village_emulators.osdp_reader import OsdpReaders


async def test_one_silent_reader_leaves_the_others_alone() -> None:
    async with bench(*(reader_config(address) for address in (1, 2, 3))) as site:
        for address in (1, 2, 3):
            await site.log.state_is(f"r{address}", "works")
        site.readers.readers[2].offline()
        await site.log.state_is("r2", "no_answer")
        assert "last answer 3 s ago" in site.log.evidence("r2")
        assert site.log.last_reading("r2")["online"] is False
        for address in (1, 3):
            assert site.log.now(f"r{address}") == ("ok", "works")
            await site.door(f"r{address}").unlock(1)
        begun = time.monotonic()
        with pytest.raises(NotConnected):
            await site.door("r2").unlock(1)
        assert time.monotonic() - begun < 0.1
        site.readers.readers[2].online()
        await site.log.state_is("r2", "works")
        await site.polled()
        assert site.outputs(2) == []
        await site.door("r2").unlock(1)
        assert len(site.outputs(2)) == 1
        assert len([1 for state in site.log.states if state[0] != "r2"]) == 2


async def test_a_reader_that_was_never_there() -> None:
    async with bench(reader_config(1), reader_config(9), addresses=(1,)) as site:
        await site.log.state_is("r1", "works")
        await site.log.state_is("r9", "no_answer")
        assert site.log.evidence("r9") == "address 9: never answered"


async def test_no_ghost_release_after_a_cut() -> None:
    async with bench(reader_config(1)) as site:
        await site.log.state_is("r1", "works")
        await site.polled()
        site.cable.cut(cut=True)
        begun = time.monotonic()
        with pytest.raises(NotConnected, match="no answer within 2 s"):
            await site.door("r1").unlock(1)
        assert time.monotonic() - begun == pytest.approx(2, abs=0.3)
        site.cable.cut(cut=False)
        # libosdp on its own would have repeated the command within a second.
        await site.readers.until(lambda told: told["event"] == "session" and told["secure"])
        site.readers.readers[1].card(26, bytes(4))
        await site.log.heard("r1", CardRead(26, bytes(4)))
        await site.polled(30)
        assert site.outputs(1) == []
        await site.door("r1").unlock(1)
        assert len(site.outputs(1)) == 1


async def test_a_withdrawn_release_is_never_sent() -> None:
    async with bench(reader_config(1)) as site:
        await site.log.state_is("r1", "works")
        site.cable.cut(cut=True)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await site.door("r1").unlock(1)
        site.cable.cut(cut=False)
        site.readers.readers[1].card(26, bytes(4))
        await site.log.heard("r1", CardRead(26, bytes(4)))
        await site.polled(30)
        assert site.outputs(1) == []


async def test_a_cut_line_and_its_repair() -> None:
    async with bench(reader_config(1), reader_config(2)) as site:
        await site.log.state_is("r1", "works")
        await site.log.state_is("r2", "works")
        site.cable.cut(cut=True)
        await site.log.state_is("r1", "no_answer")
        await site.log.state_is("r2", "no_answer")
        site.cable.cut(cut=False)
        await site.log.state_is("r1", "works")
        await site.log.state_is("r2", "works")
        assert not site.run.done()


async def test_an_unplugged_adapter_ends_the_run_and_what_waits() -> None:
    async with bench(reader_config(1)) as site:
        await site.log.state_is("r1", "works")
        site.cable.cut(cut=True)
        waiting = asyncio.create_task(site.door("r1").unlock(1), name="unlock")
        await site.polled()
        site.cable.unplug()
        with pytest.raises(NotConnected) as caught:
            await site.run
        assert caught.value.code == "line_closed"
        with pytest.raises(NotConnected):
            await waiting
        with pytest.raises(NotConnected, match="line is not open"):
            await site.door("r1").unlock(1)


async def test_the_driver_runs_again_after_it_was_stopped() -> None:
    async with bench(reader_config(1)) as site:
        await site.log.state_is("r1", "works")
        site.run.cancel()
        await asyncio.wait([site.run])
        again = Log()
        site.run = asyncio.create_task(site.driver.run(again), name="second run")
        await again.state_is("r1", "works")
        assert again.readings


async def test_an_absent_adapter(tmp_path: Path) -> None:
    with pytest.raises(NotConnected) as caught:
        await bus(str(tmp_path / "ttyUSB0"), reader_config(1)).run(Log())
    assert caught.value.code == "line_missing"


async def test_key_files(tmp_path: Path) -> None:
    file = tmp_path / "gate.scbk"
    missing = reader_config(1, scbk=None, scbk_file=str(file))
    with pytest.raises(Misconfigured, match="No such file"):
        await bus("/dev/null", missing).run(Log())
    file.write_text("secret but no key\n")
    with pytest.raises(Misconfigured, match="32 hexadecimal digits") as caught:
        await bus("/dev/null", missing).run(Log())
    assert "secret" not in str(caught.value)
    file.write_text(KEY.hex() + "\n")
    async with bench(missing) as site:
        await site.log.state_is("r1", "works")


async def test_another_key_is_named_and_a_corrected_reader_works_without_a_restart() -> None:
    async with bench(reader_config(1), reader_config(2, scbk=OTHER_KEY.hex())) as site:
        await site.log.state_is("r1", "works")
        await site.log.state_is("r2", "wrong_key")
        assert site.log.now("r2") == ("down", "wrong_key")
        with pytest.raises(NotConnected) as caught:
            await site.door("r2").unlock(1)
        assert caught.value.code == "wrong_key"
        emulated = site.readers.readers[2]
        emulated.offline()
        emulated.key = OTHER_KEY
        emulated.online()
        await site.log.state_is("r2", "works")
        assert ("r1", "down") not in [state[:2] for state in site.log.states]


async def test_a_reader_in_install_mode_is_not_accepted_and_not_re_keyed() -> None:
    async with bench(reader_config(1), key=None) as site:
        await site.log.state_is("r1", "wrong_key")
        await site.polled()
        assert not any(told["event"] == "session" and told["secure"] for told in site.readers.told)
        assert not any(told["event"] == "key" for told in site.readers.told)


async def test_plaintext_must_be_allowed() -> None:
    async with bench(reader_config(1, scbk=None, secure=False), enforce_secure=False) as site:
        await site.log.state_is("r1", "works")
        assert site.log.last_reading("r1")["secure"] is False
        assert "plaintext" in site.log.evidence("r1")
        await site.door("r1").unlock(1)


async def test_a_reader_that_demands_security_is_not_reported_as_working() -> None:
    async with bench(reader_config(1, scbk=None, secure=False)) as site:
        await site.log.state_is("r1", "wrong_key")
        assert "demands a secure channel" in site.log.evidence("r1")
        assert not any(state[1] == "ok" for state in site.log.states)


@pytest.mark.parametrize("end", ["a", "b"])
async def test_noise_is_survived(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "_WINDOW_SECONDS", 2.0)
    source = random.Random(7)
    async with bench(reader_config(1), reader_config(2)) as site:
        await site.log.state_is("r1", "works")
        await site.log.state_is("r2", "works")
        into = site.cable.a if end == "a" else site.cable.b
        for _ in range(60):
            site.cable.inject(source.randbytes(source.randrange(1, 40)), into=into)
            await site.log_after(asyncio.get_running_loop().time() + 0.02)
        if end == "a":
            await site.log.state_is("r1", "noise")
        await site.log.state_is("r1", "works")
        site.readers.readers[2].card(26, bytes(4))
        await site.log.heard("r2", CardRead(26, bytes(4)))
        assert not site.run.done()


async def test_a_reader_without_power_at_the_start_is_found_later() -> None:
    log = Log()
    async with Cable() as cable:
        driver = bus(cable.a, reader_config(1))
        run = asyncio.create_task(driver.run(log), name="driver under test")
        await log.state_is("r1", "no_answer")
        async with OsdpReaders(cable.b, [1], KEY):
            await log.state_is("r1", "works")
        run.cancel()
        await asyncio.wait([run])


async def test_libosdp_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    async with bench(reader_config(1), reader_config(2, scbk=OTHER_KEY.hex())) as site:
        await site.log.state_is("r1", "works")
        await site.log.state_is("r2", "wrong_key")
    assert capfd.readouterr() == ("", "")


async def test_challenges_differ_between_two_starts() -> None:
    """libosdp draws them from an unseeded generator: the first of each process would be the same."""
    script = (
        "import sys; from village_drivers.osdp.panel import Panel; from village_emulators.osdp_device import EmulatedReader;"
        "from village_drivers.osdp.frames import FrameSplitter, command_code;"
        "panel = Panel(1, bytes(range(16))); reader = EmulatedReader(1, bytes(range(16)), lambda told: None);\n"
        "for _ in range(3):\n"
        "    frame = panel.transmit()\n"
        "    panel.receive(FrameSplitter().feed(reader.hear(frame))[0])\n"
        "print(command_code(frame), frame.hex())"
    )
    challenges = set()
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        code, frame = output.decode().split()
        assert code == str(0x76)
        challenges.add(frame)
    assert len(challenges) == 2
