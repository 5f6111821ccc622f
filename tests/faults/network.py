"""The links between agents and broker, to be cut and slowed.

Where the system lets us, each agent runs in a network namespace of its own behind a pair of virtual cables, so that packets vanish
without a word as they do on a radio link. Elsewhere the agent's connection passes through a proxy in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from tests.faults.proxy import ProxyLink
from tests.peers import free_port

#: A poor 4G link: 64 kbit/s; netem adds loss and a delay that varies.
_RATE = "64kbit"
_NETEM = ("netem", "delay", "250ms", "100ms", "loss", "3%", "rate", _RATE)
_TBF = ("tbf", "rate", _RATE, "burst", "4kb", "latency", "600ms")


class Unavailable(Exception):
    """The system does not let us; the text says why."""


class Link(Protocol):
    """One agent's way to the broker."""

    @property
    def launcher(self) -> Sequence[str]:
        """Stands before the agent's command line."""

    @property
    def host(self) -> str:
        """Where the agent finds the broker."""

    @property
    def port(self) -> int:
        """The port there."""

    @property
    def listen(self) -> str:
        """Address at which the broker listens for it."""

    async def cut(self, on: bool) -> None:
        """Let nothing through, or everything again."""

    async def slow(self, on: bool) -> None:
        """Make it a poor link, or a good one again."""


class _NamespaceLink:
    """A network namespace at the end of a virtual cable. `shaping` are the words of `tc` for a poor link."""

    def __init__(self, index: int, port: int, shaping: Sequence[str]) -> None:
        process = os.getpid()
        self.namespace = f"village-{process}-{index}"
        self.cables = (f"vf{process % 100_000}{index}h", f"vf{process % 100_000}{index}a")
        network = f"10.{200 + index}.{process // 64 % 256}.{process % 64 * 4}"
        stem, _, last = network.rpartition(".")
        self.listen = self.host = f"{stem}.{int(last) + 1}"
        self._own = f"{stem}.{int(last) + 2}"
        self.port = port
        self.launcher = ("ip", "netns", "exec", self.namespace)
        self._shaping = shaping

    async def make(self) -> None:
        """Raises `Unavailable`."""
        ours, theirs = self.cables
        await _run("ip", "netns", "add", self.namespace)
        await _run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", self.namespace)
        await _run("ip", "address", "add", f"{self.host}/30", "dev", ours)
        await _run("ip", "link", "set", ours, "up")
        inside = ("ip", "-n", self.namespace)
        await _run(*inside, "link", "set", "lo", "up")
        await _run(*inside, "address", "add", f"{self._own}/30", "dev", theirs)
        await _run(*inside, "link", "set", theirs, "up")

    async def unmake(self) -> None:
        for command in (("ip", "link", "del", self.cables[0]), ("ip", "netns", "del", self.namespace)):
            with contextlib.suppress(Unavailable):
                await _run(*command)

    async def cut(self, on: bool) -> None:
        """See `Link`. Our end keeps its address, so that the broker goes on listening."""
        await _run("ip", "-n", self.namespace, "link", "set", self.cables[1], "down" if on else "up")

    async def slow(self, on: bool) -> None:
        """See `Link`; both directions."""
        for where, cable in (((), self.cables[0]), (("-n", self.namespace), self.cables[1])):
            if on:
                await _run("tc", *where, "qdisc", "add", "dev", cable, "root", *self._shaping)
            else:
                with contextlib.suppress(Unavailable):
                    await _run("tc", *where, "qdisc", "del", "dev", cable, "root")


@asynccontextmanager
async def open_links(
    agents: Sequence[str], port: int, wanted: str = "auto"
) -> AsyncIterator[tuple[str, dict[str, Link]]]:
    """Yield how it is done, in words, and a link for each agent. `wanted` is `auto`, `namespace` or `proxy`."""
    async with AsyncExitStack() as stack:
        reason = "as asked"
        if wanted != "proxy":
            try:
                how, shaping = await _shaping()
                links = {agent: _NamespaceLink(index, port, shaping) for index, agent in enumerate(agents)}
                for link in links.values():
                    stack.push_async_callback(link.unmake)
                    await link.make()
                yield how, {**links}
                return
            except Unavailable as error:
                if wanted == "namespace":
                    raise
                reason = str(error)
                await stack.aclose()
        proxies: dict[str, Link] = {}
        for agent in agents:
            proxies[agent] = await stack.enter_async_context(ProxyLink(free_port(), port))
        yield f"a proxy in this program ({reason})", proxies


async def _shaping() -> tuple[str, Sequence[str]]:
    """Find out what the kernel offers; raises `Unavailable`."""
    if os.geteuid() != 0:
        raise Unavailable("network namespaces need root")
    probe = _NamespaceLink(9, 0, ())
    try:
        await probe.make()
        with contextlib.suppress(Unavailable):
            await _run("tc", "qdisc", "add", "dev", probe.cables[0], "root", *_NETEM)
            return f"network namespaces, tc {' '.join(_NETEM)}", _NETEM
        await _run("tc", "qdisc", "add", "dev", probe.cables[0], "root", *_TBF)
        return f"network namespaces, tc {' '.join(_TBF)} (this kernel has no netem)", _TBF
    finally:
        await probe.unmake()


async def _run(*command: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)
    except OSError as error:
        raise Unavailable(f"{command[0]}: {error.strerror}") from None
    _, errors = await process.communicate()
    if process.returncode:
        raise Unavailable(f"{' '.join(command[:4])}: {errors.decode().strip().partition(chr(10))[0]}")
