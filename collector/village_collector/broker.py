"""The embedded broker: rumqttd in a child process, for the demo and small sites. It keeps nothing on disk and asks for no password.

Therefore it listens on this machine only. Facts about rumqttd (iotcore 0.4.0): MQTT 5 needs a `[v5.1]` listener; small segments keep it
at 45 MB, where its defaults grow to 113 MB; a larger message than `max_payload_size` ends its sender's connection. The child
exits by itself when this process is gone, because its standard input closes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import signal
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from iotcore import Broker

from village_collector.ports import Problem
from village_wire.backoff import full_jitter

_log = logging.getLogger(__name__)

MAX_CONNECTIONS = 10_000
#: Twice our longest message, so that one which is too long is refused with a reason by the collector, not cut off by the broker.
MAX_PAYLOAD_BYTES = 512 * 1024
#: How long the child of a killed collector may hold the port.
_PREDECESSOR_SECONDS = 3.0
_POLL_SECONDS = 0.5
_CONFIG = """\
id = 0
[router]
id = 0
max_connections = {connections}
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 4
[v5.1]
name = "v5-1"
listen = "{listen}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = {payload}
max_inflight_count = 100
dynamic_filters = true
"""


class BrokerFailed(Exception):
    """The embedded broker can't start; the text says what to do."""


class EmbeddedBroker:
    """One broker; `start` it, give `watch` to the `TaskGroup`, `stop` it at the end."""

    def __init__(
        self, folder: Path, port: int, host: str = "127.0.0.1", now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """`folder` takes the broker's configuration file; port 0 takes a free one.

        Raises:
            ValueError: `host` is not a loopback address.
        """
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(
                f"the embedded broker asks for no password, so it listens on 127.0.0.1 or ::1 only, not on {host}"
            )
        self._config = folder / "broker.toml"
        self._host = host
        self._port = port
        self._now = now
        self._broker: Broker | None = None
        self._problem: Problem | None = None

    @property
    def url(self) -> str:
        """Where it listens; known once it was started."""
        return f"mqtt://{_host_port(self._host, self._port)}"

    @property
    def problem(self) -> Problem | None:
        """Why it does not run now."""
        return self._problem

    async def start(self) -> None:
        """Start it; raises `BrokerFailed`."""
        await asyncio.to_thread(self._start)

    async def watch(self) -> None:
        """Start it again, with back-off, whenever it ends; until cancelled."""
        attempt = 0
        while True:
            started = asyncio.get_running_loop().time()
            while self._broker is not None and self._broker.is_running:  # noqa: ASYNC110 - a child process has no event
                await asyncio.sleep(_POLL_SECONDS)
            if asyncio.get_running_loop().time() - started > 60:
                attempt = 0
            self._problem = self._problem or Problem(
                "broker", self._now(), f"the embedded broker at {self.url} ended; it is started again"
            )
            await asyncio.sleep(full_jitter(attempt, random.random(), cap=30.0))
            attempt += 1
            _log.warning("%s", self._problem.text)
            try:
                await self.start()
            except BrokerFailed as error:
                self._problem = Problem("broker", self._problem.since, str(error))
            else:
                self._problem = None
                _log.info("the embedded broker listens at %s again", self.url)

    async def stop(self) -> None:
        """End it and wait for its end."""
        if self._broker is not None:
            await asyncio.to_thread(self._broker.stop)
            self._broker = None

    def _start(self) -> None:
        self._port = self._port or _free_port(self._host)
        listen = _host_port(self._host, self._port)
        text = _CONFIG.format(connections=MAX_CONNECTIONS, listen=listen, payload=MAX_PAYLOAD_BYTES)
        try:
            self._config.write_text(text)
        except OSError as error:
            raise BrokerFailed(f"the embedded broker needs {self._config}: {error.strerror}") from None
        broker = Broker(config_path=str(self._config))
        self._wait_for_port()
        # The child inherits this thread's mask. Ctrl-C reaches it too, and it must still carry our last answers.
        unmasked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            broker.start()
        except (OSError, RuntimeError) as error:
            raise BrokerFailed(f"the embedded broker at {listen} did not start: {error}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)
        self._broker = broker

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + _PREDECESSOR_SECONDS
        while True:
            try:
                with socket.socket(_family(self._host)) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((self._host, self._port))
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise BrokerFailed(
                        f"the embedded broker can't listen on port {self._port}: {error.strerror}."
                        " Stop the program that has the port (a mosquitto?), or set another [broker] port in the configuration;"
                        ' with url = "mqtt://127.0.0.1:1883" there the collector uses a broker that runs already'
                    ) from None
            time.sleep(0.05)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _free_port(host: str) -> int:
    with socket.socket(_family(host)) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
