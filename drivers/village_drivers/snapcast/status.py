"""What a snapserver says of a stream and those who listen to it (Snapcast JSON-RPC, `Server.GetStatus`, version 0.26)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Names go into evidence, which travels over 4G.
_MAX_NAME = 60


class InvalidStatus(ValueError):
    """The answer has another form."""


@dataclass(frozen=True, slots=True)
class Client:
    """One loudspeaker. `latency_ms` is what its owner configured for its sound card."""

    name: str
    connected: bool
    muted: bool
    latency_ms: int


@dataclass(frozen=True, slots=True)
class Group:
    """Clients that are switched together."""

    identity: str
    muted: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream, where its sound comes in, and who listens. `path` is that of a pipe, `host` and `port` are those of a TCP server."""

    scheme: str
    path: str
    host: str
    port: int
    mode: str
    sample_format: str
    playing: bool
    groups: tuple[Group, ...]
    clients: tuple[Client, ...]

    @property
    def connected(self) -> tuple[Client, ...]:
        """Those who listen now."""
        return tuple(client for client in self.clients if client.connected)

    @property
    def summary(self) -> str:
        """Who listens, in words."""
        text = f"{len(self.connected)} of {len(self.clients)} clients connected"
        if missing := ", ".join(client.name for client in self.clients if not client.connected):
            text += f", missing: {missing}"
        if muted := ", ".join(client.name for client in self.connected if client.muted):
            text += f", muted: {muted}"
        return text


def read_stream(result: object, name: str) -> Stream | tuple[str, ...]:
    """Return the stream of that name, or the names of those that there are. Raises `InvalidStatus`."""
    try:
        return _read(result, name)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidStatus(f"the server's status has an unknown form: {error!r}"[:200]) from error


def _read(result: Any, name: str) -> Stream | tuple[str, ...]:
    server = result["server"]
    found = [stream for stream in server["streams"] if stream["id"] == name]
    if not found:
        return tuple(str(stream["id"])[:_MAX_NAME] for stream in server["streams"])
    uri, playing = found[0]["uri"], found[0]["status"] == "playing"
    host, _, port = str(uri["host"]).rpartition(":")
    query = uri["query"]
    groups, clients = [], []
    for group in server["groups"]:
        if group["stream_id"] == name:
            groups.append(Group(str(group["id"]), bool(group["muted"])))
            clients += [_client(client, bool(group["muted"])) for client in group["clients"]]
    return Stream(
        scheme=str(uri["scheme"]),
        path=str(uri["path"]),
        host=host,
        port=int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0,
        mode=str(query.get("mode", "")),
        sample_format=str(query.get("sampleformat", "")),
        playing=playing,
        groups=tuple(groups),
        clients=tuple(clients),
    )


def _client(client: Any, group_muted: bool) -> Client:
    config = client["config"]
    name = str(config["name"] or client["id"])[:_MAX_NAME]
    return Client(
        name, client["connected"] is True, group_muted or bool(config["volume"]["muted"]), int(config["latency"])
    )
