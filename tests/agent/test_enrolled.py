"""A box's whole life with the real collector and a real mosquitto: enrolled, renewed, its command key rotated, shut out."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.agent.kit import until
from tests.collector.kit import VILLAGE
from tests.collector.mosquitto.kit import Site, site
from tests.collector.people import api_client, token_for
from village_agent.identity.folder import Identity, read_identity
from village_collector.broker_certificate import BrokerCertificate
from village_wire.address import BrokerAddress, SessionSettings
from village_wire.commands import Command, Stop, Target, sign_command
from village_wire.connection import connect
from village_wire.outgoing import Publication

AGENT = [sys.executable, "-m", "village_agent.cli"]
SECOND = "village_collector-" + "1" * 16
COLLECTOR = [sys.executable, "-m", "village_collector.cli"]


def call(program: list[str], *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*program, *arguments], input=given, capture_output=True, text=True, timeout=30, check=False)


class Log:
    """A program that runs, and what it says."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.text = ""

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.text += line.decode()


@asynccontextmanager
async def started(*command: str) -> AsyncIterator[Log]:
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)
    log = Log(process)
    reading = asyncio.create_task(log.read(), name="log")
    try:
        yield log
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


class Village:
    """The collector, its API, and one box."""

    def __init__(self, it: Site, collector: Log) -> None:
        self.site = it
        self.collector = collector
        self.state = it.folder / "state"
        self.config = it.folder / "agent.toml"
        # Commands are sent under the name of a second collector, so that the first one keeps its connection.
        second = it.folder / "second"
        second.mkdir()
        self.sender = BrokerCertificate(second, it.authority, SECOND, it.control.record_certificate)
        self.sender.load()
        self.address = BrokerAddress(
            it.address.url,
            ca_file=it.data / "ca.pem",
            certificate_file=second / "broker.pem",
            key_file=second / "broker.key",
        )
        self.config.write_text('[agent]\nstate_dir = "state"\n\n[[devices]]\nid = "machine"\ndriver = "host"\n')

    async def url(self) -> str:
        path = self.site.data / "addresses.json"
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(path.exists):
                assert self.collector.process.returncode is None, self.collector.text
                await asyncio.sleep(0.05)
        url: str = json.loads(await asyncio.to_thread(path.read_text))["api"]
        return url

    async def request(self, method: str, path: str, **options: Any) -> Any:
        token = await asyncio.to_thread(token_for, self.site.data)
        client = await asyncio.to_thread(api_client, self.site.data, await self.url(), token=token)
        async with client:
            answer = await client.request(method, path, **options)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def identity(self) -> Identity:
        found = await asyncio.to_thread(read_identity, self.state)
        assert found is not None
        return found

    async def key(self, name: str) -> Ed25519PrivateKey:
        key = load_pem_private_key(await asyncio.to_thread((self.site.data / name).read_bytes), None)
        assert isinstance(key, Ed25519PrivateKey)
        return key

    async def online(self) -> None:
        async with asyncio.timeout(30):
            while not any(
                one["agent"] == "box" and one["online"] for one in (await self.request("GET", "/agents"))["agents"]
            ):
                await asyncio.sleep(0.2)

    async def obeys(self, key: Ed25519PrivateKey, seconds: float = 10) -> bool:
        """Whether the agent takes a command that is signed with a key; it answers that it has no loudspeaker."""
        now = datetime.now(UTC)
        command = Command(
            id=uuid4(),
            target=Target(agent="box"),
            arguments=Stop(),
            issuer="wang",
            issued=now,
            expires=now + timedelta(minutes=5),
        )
        async with connect(SessionSettings(self.address, SECOND)) as connection:
            await connection.publish(Publication("village/1/agent/box/command", sign_command(command, key)))
        try:
            async with asyncio.timeout(seconds):
                while not await self._answered(command.id):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return False
        return True

    async def _answered(self, command: UUID) -> bool:
        answer = await self.request("GET", "/events", params={"limit": 100})
        return str(command) in json.dumps(answer)


@asynccontextmanager
async def village(folder: Path) -> AsyncIterator[Village]:
    async with site(folder) as it:
        command = [*COLLECTOR, "run", "--config", str(folder / "collector.toml"), "--data-dir", str(it.data)]
        async with started(*command) as collector:
            yield await asyncio.to_thread(Village, it, collector)


async def enrolled(it: Village) -> subprocess.CompletedProcess[str]:
    added = await it.request("POST", "/agents", json={"agent": "box", "area": VILLAGE})
    return await asyncio.to_thread(
        call, AGENT, "enroll", await it.url(), "-", "--config", str(it.config), given=added["token"] + "\n"
    )


def make_old(state: Path) -> None:
    """Let the certificate look as if it had been issued long ago, so that it is to be renewed."""
    path = state / "identity" / "identity.json"
    record = json.loads(path.read_text())
    record["issued"] = (datetime.now(UTC) - timedelta(days=500)).isoformat()
    path.write_text(json.dumps(record))


@pytest.mark.timeout(180)
async def test_a_box_is_enrolled_renews_itself_and_is_shut_out(tmp_path: Path) -> None:
    async with village(tmp_path) as it:
        done = await enrolled(it)
        assert (done.returncode, "This box is agent box in area" in done.stdout) == (0, True), done
        first = await it.identity()
        old = [await asyncio.to_thread(path.read_bytes) for path in (first.certificate_file, first.key_file)]
        await asyncio.to_thread(make_old, it.state)
        async with started(*AGENT, "run", "--config", str(it.config)) as agent:
            await it.online()
            async with asyncio.timeout(30):
                while (await it.identity()).record.issued < first.record.issued:
                    await asyncio.sleep(0.1)
            await until(lambda: "connecting to mqtts" in agent.text)
            assert "the certificate is renewed" in agent.text
            assert await asyncio.to_thread((await it.identity()).key_file.read_bytes) != old[1]
            await it.online()
            assert await it.obeys(await it.key("command_key"))
            # The certificate before is good until its end: an answer may have been lost.
            for name, content in zip(("old.pem", "old.key"), old, strict=True):
                await asyncio.to_thread((tmp_path / name).touch, 0o600)
                await asyncio.to_thread((tmp_path / name).write_bytes, content)
            before = BrokerAddress(
                it.site.address.url, None, None, it.site.data / "ca.pem", tmp_path / "old.pem", tmp_path / "old.key"
            )
            async with connect(SessionSettings(before, "box")):
                pass
            await it.online()
            await it.request("POST", "/agents/box/revoke")
            await until(lambda: "refuses this program's certificate: certificate revoked" in agent.text, 40)
            checked = await asyncio.to_thread(
                call, AGENT, "check", "--config", str(it.config), "--seconds", "5", "--json"
            )
            rows = {row["kind"]: row for row in json.loads(checked.stdout)["rows"]}
            assert rows["identity"]["code"] == "works"
            assert rows["collector"]["code"] == "certificate_refused"
            assert "enrol it again" in rows["collector"]["advice"]["en"]


@pytest.mark.timeout(180)
async def test_a_command_key_is_rotated_with_overlap_and_a_stolen_one_is_out_at_once(tmp_path: Path) -> None:
    async with village(tmp_path) as it:
        assert (await enrolled(it)).returncode == 0
        rotate = (*COLLECTOR, "command-key", "rotate", "--data-dir", str(it.site.data))
        async with started(*AGENT, "run", "--config", str(it.config)) as agent:
            await it.online()
            old = await it.key("command_key")
            assert await it.obeys(old)
            await asyncio.to_thread(call, list(rotate), "--overlap", "1d")
            await until(lambda: "command keys 2: 2 count" in agent.text, 20)
            following = await it.key("command_key.next")
            assert await it.obeys(old)
            assert await it.obeys(following)
            done = await asyncio.to_thread(call, list(rotate), "--compromised")
            assert done.returncode == 0, done
            await until(lambda: ": 1 count" in agent.text, 20)
            fresh = await it.key("command_key")
            assert fresh.public_key() not in [old.public_key(), following.public_key()]
            assert await it.obeys(fresh)
            assert not await it.obeys(old, 2)
        # What came over the air is there after a restart.
        number = (await it.identity()).command_keys.number
        assert number > 2
        async with started(*AGENT, "run", "--config", str(it.config)):
            await it.online()
            assert await it.obeys(fresh)
            assert not await it.obeys(following, 2)


@pytest.mark.timeout(120)
async def test_a_check_does_not_push_a_running_agent_off_its_broker(tmp_path: Path) -> None:
    async with village(tmp_path) as it:
        assert (await enrolled(it)).returncode == 0
        async with started(*AGENT, "run", "--config", str(it.config)) as agent:
            await it.online()
            checked = await asyncio.to_thread(call, AGENT, "check", "--config", str(it.config), "--json")
            rows = {row["kind"]: row for row in json.loads(checked.stdout)["rows"]}
            assert (rows["collector"]["status"], rows["identity"]["status"]) == ("ok", "ok")
            assert await it.obeys(await it.key("command_key"))
            assert "the connection ended" not in agent.text
            refused = await enrolled(it)
            assert refused.returncode == 4
            assert "systemctl stop village-agent" in refused.stderr


@pytest.mark.timeout(120)
async def test_what_a_person_sees_of_an_enrolment_and_of_its_refusals(tmp_path: Path) -> None:
    async with village(tmp_path) as it:
        state, url = str(it.state), await it.url()
        none = await asyncio.to_thread(call, AGENT, "identity", "--state-dir", state)
        assert (none.returncode, "not enrolled" in none.stderr) == (2, True)
        added = await it.request("POST", "/agents", json={"agent": "box", "area": VILLAGE})
        token = added["token"]
        cases = [
            (("enroll", url, "nonsense", "--state-dir", state), 2, "not an enrolment token"),
            (("enroll", "http://10.0.0.5", token, "--state-dir", state), 2, "https://"),
            (("enroll", "https://127.0.0.1:1", token, "--state-dir", state), 1, "Connection refused"),
            (("enroll", url, token[:-22] + "A" * 22, "--state-dir", state), 5, "another authority"),
            (("enroll", url, "ve1." + "A" * 22 + token[-23:], "--state-dir", state), 5, "village agent add"),
            (("enroll", url, token), 2, "--state-dir"),
        ]
        for arguments, code, text in cases:
            done = await asyncio.to_thread(call, AGENT, *arguments)
            assert (done.returncode, text in done.stderr) == (code, True), done
            assert token.split(".")[1] not in done.stdout + done.stderr
        done = await asyncio.to_thread(call, AGENT, "enroll", url, token, "--state-dir", state, "--json")
        document = json.loads(done.stdout)
        assert (document["schema"], document["agent"], document["status"]) == ("village-agent.identity/1", "box", "ok")
        again = await asyncio.to_thread(call, AGENT, "enroll", url, token, "--state-dir", state, "--json")
        assert again.returncode == 5
        assert "used" in json.loads(again.stdout)["reason"]
        assert "This box is agent box already" in json.loads(again.stdout)["reason"]
        plain = await asyncio.to_thread(call, AGENT, "enroll", "http" + url[5:], token, "--state-dir", state)
        assert (plain.returncode, "perhaps it speaks https" in plain.stderr) == (1, True), plain
        shown = await asyncio.to_thread(call, AGENT, "identity", "--state-dir", state)
        assert shown.returncode == 0
        for text in ("box", VILLAGE, "good until", "document 1"):
            assert text in shown.stdout
