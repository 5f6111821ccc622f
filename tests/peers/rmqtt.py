"""A real cluster of three RMQTT brokers on the loopback: MQTT 5, its routes shared by raft."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.peers import free_port, peer
from village_wire.address import BrokerAddress, SessionError, SessionSettings, Subscription
from village_wire.connection import Connection, connect
from village_wire.outgoing import Publication

_NODE = """\
node.id = {id}
rpc.server_addr = "127.0.0.1:{rpc}"
rpc.server_workers = 2
log.to = "console"
log.level = "warn"
plugins.dir = "{folder}/plugins"
plugins.default_startups = ["rmqtt-cluster-raft", "rmqtt-shared-subscription", "rmqtt-retainer"]
listener.tcp.external.addr = "127.0.0.1:{mqtt}"
listener.tcp.external.workers = 1
listener.tcp.external.allow_anonymous = true
listener.tcp.external.shared_subscription = true
listener.tcp.external.retain_available = true
listener.tcp.external.max_mqueue_len = 100000
listener.tcp.external.mqueue_rate_limit = "100000,1s"
"""
_RAFT = """\
message_type = 198
node_grpc_addrs = {rpc}
raft_peer_addrs = {raft}
laddr = "127.0.0.1:{own}"
# A node that is to take a dead one's clients over asks it first.
node_grpc_client_timeout = "2s"
try_lock_timeout = "3s"
raft.grpc_timeout = "2s"
"""
#: Three nodes find each other in some eight seconds on a quiet machine.
_FORM_SECONDS = 40.0


@dataclass
class Node:
    """One broker of the cluster."""

    folder: Path
    port: int
    process: Process | None = None

    @property
    def address(self) -> BrokerAddress:
        return BrokerAddress(f"mqtt://127.0.0.1:{self.port}")

    @property
    def url(self) -> str:
        return self.address.url

    async def start(self, number: int) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                peer("rmqttd"), "-f", "rmqtt.toml", "--id", str(number), cwd=self.folder, stdout=log, stderr=STDOUT
            )

    async def listening(self) -> None:
        """Return once it answers."""
        while True:
            try:
                async with _client(self):
                    return
            except SessionError:
                await asyncio.sleep(0.1)

    async def kill(self) -> None:
        """Kill it with SIGKILL, as a power cut does."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def rmqtt_cluster(folder: Path) -> AsyncIterator[list[Node]]:
    """Start three nodes, wait until each one's messages reach every other, and kill them at the end."""
    peer("rmqttd")
    rpc, raft = ([free_port() for _ in range(3)] for _ in range(2))
    nodes = []
    for number in range(1, 4):
        node = Node(folder / f"node{number}", free_port())
        plugins = node.folder / "plugins"
        plugins.mkdir(parents=True)
        text = _NODE.format(id=number, rpc=rpc[number - 1], folder=node.folder, mqtt=node.port)
        (node.folder / "rmqtt.toml").write_text(text)
        raft_text = _RAFT.format(rpc=_peers(rpc), raft=_peers(raft), own=raft[number - 1])
        (plugins / "rmqtt-cluster-raft.toml").write_text(raft_text)
        (plugins / "rmqtt-retainer.toml").write_text('storage.type = "ram"\nmax_payload_size = "1MB"\n')
        # Without a port of its own the second node ends.
        (plugins / "rmqtt-http-api.toml").write_text(f'workers = 1\nhttp_laddr = "127.0.0.1:{free_port()}"\n')
        nodes.append(node)
    try:
        try:
            async with asyncio.timeout(_FORM_SECONDS):
                for number, node in enumerate(nodes, 1):
                    # Started at once, each would found a cluster of its own.
                    await node.start(number)
                    await node.listening()
                await _formed(nodes)
        except TimeoutError:
            logs = "".join((node.folder / "log").read_text(errors="replace")[-2000:] for node in nodes)
            raise AssertionError(f"the cluster did not form: {logs}") from None
        yield nodes
    finally:
        for node in nodes:
            await node.kill()


def _peers(ports: list[int]) -> str:
    return "[" + ", ".join(f'"{number}@127.0.0.1:{port}"' for number, port in enumerate(ports, 1)) + "]"


async def _formed(nodes: list[Node]) -> None:
    async with asyncio.TaskGroup() as group:
        for sender in nodes:
            for receiver in nodes:
                if sender is not receiver:
                    group.create_task(_reaches(sender, receiver), name="cluster forms")


async def _reaches(sender: Node, receiver: Node) -> None:
    topic = f"forming/{uuid4().hex}"
    while True:
        try:
            async with _client(receiver) as listening, _client(sender) as sending:
                await listening.subscribe([Subscription(topic)])
                for _ in range(10):
                    await sending.publish(Publication(topic, b"x"))
                    try:
                        async with asyncio.timeout(0.3):
                            async for _ in listening.messages():
                                return
                    except TimeoutError:
                        continue
        except SessionError:
            await asyncio.sleep(0.2)


@asynccontextmanager
async def _client(node: Node) -> AsyncIterator[Connection]:
    async with connect(SessionSettings(node.address, f"forming-{uuid4().hex[:12]}")) as connection:
        yield connection
