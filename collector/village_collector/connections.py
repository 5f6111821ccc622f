"""HTTP connections and what each may cost: how many there are, from whom, and how long a peer may keep one busy.

Every limit counts from the accepted socket on, so a peer that never finishes its TLS handshake is counted too.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import logging
import socket
import ssl
import struct
import termios
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from village_collector.api.guard import AUDIO_PATH, MAX_HEAD_BYTES, is_voice
from village_collector.api.problems import Problem, problem_response
from village_wire.broadcasts import MAX_LIVE_SECONDS

_log = logging.getLogger(__name__)

#: Far more than the tools of a county's operators open at once; each costs up to half a megabyte under TLS.
MAX_CONNECTIONS = 500
#: One office behind one address, or a proxy; four more such addresses still find room.
MAX_PER_ADDRESS = 100
#: Two round trips on a slow 4G link, and time for a box to compute.
HANDSHAKE_SECONDS = 10.0
#: A peer that has its whole answer and does not close its side is left so soon.
CLOSE_SECONDS = 3.0
#: A request line with headers fits one or two packets.
HEAD_SECONDS = 10.0
#: The longest body, a picture of 4 MiB at 1 Mbit/s, takes that long.
BODY_SECONDS = 40.0
#: A sound file of 50 MB at 0.5 Mbit/s; its body is read only of who may broadcast.
AUDIO_SECONDS = 900.0
#: A peer that takes less than `STALL_BYTES` of its answer in this time reads it no longer.
STALL_SECONDS = 20.0
#: 1 kB a second is far below the worst link on which a person still waits.
STALL_BYTES = 20_000
SWEEP_SECONDS = 1.0
#: The system had no socket or memory left: accepting pauses for so long.
_PAUSE_SECONDS = 1.0

#: asyncio would cut a slow reader off this long after the end of its answer; ours is the rule of `STALL_SECONDS`.
_SHUTDOWN_SECONDS = 3600.0
#: Offset of `tcpi_bytes_acked` (64 bits) in Linux's `struct tcp_info`.
_BYTES_ACKED = 120

#: The longest speech; what reads it ends it as soon as the speaker is silent for some seconds.
VOICE_SECONDS = MAX_LIVE_SECONDS + 60

#: What a connection waits for: TLS; the peer's request, head, body, sound file or voice; our work; the peer to read; the peer to close.
Phase = Literal["handshake", "head", "body", "audio", "voice", "work", "answer", "end"]
_LIMITS: Mapping[Phase, float] = {
    "head": HEAD_SECONDS,
    "body": BODY_SECONDS,
    "audio": AUDIO_SECONDS,
    "voice": VOICE_SECONDS,
    "answer": STALL_SECONDS,
    "end": CLOSE_SECONDS,
}


@dataclass(eq=False, slots=True)
class Peer:
    """One accepted socket. `since` is the monotonic time at which its phase began, or at which it last read enough of an answer."""

    owner: str
    phase: Phase
    since: float
    protocol: GuardedProtocol | None = None
    handshake: asyncio.Task[None] | None = None
    taken: int = 0

    def overdue(self, now: float) -> bool:
        """Tell whether the peer let us wait too long; called once in `SWEEP_SECONDS`."""
        if self.protocol is None:
            return False
        phase, taken = self.protocol.phase, self.protocol.taken
        reads = phase == "answer" and taken - self.taken >= STALL_BYTES
        if phase != self.phase or self.protocol.began > self.since or reads:
            self.phase, self.since, self.taken = phase, now, taken
        limit = _LIMITS.get(phase)
        return limit is not None and now - self.since > limit

    def end(self) -> None:
        """Close the socket at once, whatever is still to be sent."""
        if self.protocol is not None:
            self.protocol.transport.abort()
        elif self.handshake is not None:
            self.handshake.cancel()


class GuardedProtocol(H11Protocol):
    """uvicorn's protocol that shows what it waits for, and answers what is no HTTP with a problem document."""

    peer: Peer
    left: Callable[[Peer], None]
    #: Monotonic time at which the last answer was complete.
    began = 0.0

    @property
    def phase(self) -> Phase:
        """What the connection waits for."""
        if self._unread:
            return "answer"
        if self.transport.is_closing():
            return "end"
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            path = self.scope["path"]
            return "voice" if is_voice(path) else "audio" if path == AUDIO_PATH else "body"
        return "head" if state is h11.IDLE else "work"

    @property
    def taken(self) -> int:
        """How many bytes the peer has acknowledged in all."""
        sock = self.transport.get_extra_info("socket")
        if sock is None:
            return 0
        try:
            content = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            found: int = struct.unpack_from("=Q", content, _BYTES_ACKED)[0]
        except (OSError, struct.error):
            return 0
        return found

    @property
    def _unread(self) -> int:
        # What asyncio keeps, and what the system has sent or will send and the peer has not acknowledged.
        sock = self.transport.get_extra_info("socket")
        if sock is None:
            # TLS has lost the connection already, and will tell us in a moment.
            return 0
        try:
            queued: int = struct.unpack("=i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        except (OSError, ValueError):
            queued = 0
        return queued + self.transport.get_write_buffer_size()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        super().connection_lost(exc)
        self.left(self.peer)

    def on_response_complete(self) -> None:
        """Called by uvicorn."""
        self.began = time.monotonic()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Called by uvicorn some seconds after an answer, which a slow peer may still be reading."""
        if self._unread:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for what h11 does not take for HTTP."""
        del msg
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            # Half an answer can't be turned into another one.
            self.transport.abort()
            return
        text = f"not an HTTP/1.1 request with a head of {MAX_HEAD_BYTES} bytes at most"
        answer = problem_response(Problem(400, text, "bad_request"))
        headers = [*answer.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class Connections:
    """Accepts connections until cancelled, and ends those that cost too much."""

    def __init__(self, config: Config, state: ServerState) -> None:
        """`context` may be set at any time; it counts for connections that come from then on."""
        self.context: ssl.SSLContext | None = None
        self._config = config
        self._state = state
        self._peers: set[Peer] = set()
        self._by_owner: Counter[str] = Counter()
        self._refused = 0

    def __len__(self) -> int:
        return len(self._peers)

    async def accept(self, listener: socket.socket) -> None:
        """Take every connection of a listening socket until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep(), name="slow connections")
            while True:
                try:
                    sock, address = await loop.sock_accept(listener)
                except ConnectionError:
                    continue
                except OSError as error:
                    _log.error("the API can't accept connections for %.0f s: %s", _PAUSE_SECONDS, error.strerror)
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                owner = owner_of(str(address[0]))
                if not self._admit(owner):
                    sock.close()
                    continue
                peer = Peer(owner, "handshake", time.monotonic())
                self._peers.add(peer)
                self._by_owner[owner] += 1
                peer.handshake = group.create_task(self._greet(sock, peer), name="TLS handshake")

    def _admit(self, owner: str) -> bool:
        if self._by_owner[owner] >= MAX_PER_ADDRESS:
            self._refuse(f"{owner} has {MAX_PER_ADDRESS} connections to the API already")
            return False
        if len(self._peers) < MAX_CONNECTIONS:
            return True
        # Whoever has the most gives up the one that has waited longest without asking for anything.
        idle = [peer for peer in self._peers if peer.phase in {"handshake", "head"}]
        if not idle:
            self._refuse(f"the API has {MAX_CONNECTIONS} connections already")
            return False
        victim = max(idle, key=lambda peer: (self._by_owner[peer.owner], -peer.since))
        self._leave(victim)
        victim.end()
        return True

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        if self._refused == 1:
            _log.warning("%s; further ones are closed at once", reason)

    async def _greet(self, sock: socket.socket, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        limits = {"ssl_handshake_timeout": HANDSHAKE_SECONDS, "ssl_shutdown_timeout": _SHUTDOWN_SECONDS}

        def protocol() -> GuardedProtocol:
            found = GuardedProtocol(config=self._config, server_state=self._state, app_state={}, _loop=loop)
            found.peer, found.left = peer, self._leave
            return found

        try:
            _, found = await loop.connect_accepted_socket(
                protocol, sock, ssl=self.context, **cast("Any", limits if self.context else {})
            )
            peer.protocol, peer.phase, peer.since = found, "head", time.monotonic()
            if peer not in self._peers:
                peer.end()
        except (OSError, ssl.SSLError) as error:
            _log.debug("no TLS with %s: %s", peer.owner, error)
        except Exception:  # noqa: BLE001 - a task's outermost edge
            # A fault of ours in one connection must not end all others.
            _log.exception("a connection of %s failed", peer.owner)
        finally:
            peer.handshake = None
            if peer.protocol is None:
                self._leave(peer)

    def _leave(self, peer: Peer) -> None:
        if peer not in self._peers:
            return
        self._peers.remove(peer)
        self._by_owner[peer.owner] -= 1
        if not self._by_owner[peer.owner]:
            del self._by_owner[peer.owner]
        if self._refused and max(self._by_owner.values(), default=0) < MAX_PER_ADDRESS // 2:
            _log.info("the API takes connections again; %d were closed", self._refused)
            self._refused = 0

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            for peer in list(self._peers):
                try:
                    if peer.overdue(now):
                        _log.debug(
                            "a connection of %s is closed: it let the API wait for the %s", peer.owner, peer.phase
                        )
                        peer.end()
                except Exception:  # noqa: BLE001 - one connection's outermost edge
                    # A fault of ours in one connection must not end the accepting of all others.
                    _log.exception("a connection of %s can't be judged", peer.owner)
                    self._leave(peer)


def owner_of(address: str) -> str:
    """Return whom connections of an address are counted for: a home or office has a whole IPv6 network of 64 bits."""
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address):
            mapped = found.ipv4_mapped
            return str(mapped) if mapped else str(ipaddress.ip_network((found, 64), strict=False))
    return address
