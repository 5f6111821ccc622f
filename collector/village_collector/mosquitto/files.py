"""The texts that mosquitto and systemd read, from plain data. No disk, no clock.

Facts about mosquitto 2.0.11: SIGHUP reads access rules, revoked certificates and the server's certificate anew; any subscription is
granted, and what may not be read is not delivered; a user without a line may do nothing. A second `pid_file` or `persistence_location` in
one configuration stops it, and Debian's own file has both. A reload while a client is away whose session ends some day makes it read freed
memory later; sessions that never end, where no `persistent_client_expiration` ends them, are safe. What waits for a client that is away
stays through a reload; what is sent to it after one is dropped, until it comes back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from village_wire.areas import chain, parse_area
from village_wire.ids import AGENT_PATTERN
from village_wire.topics import PREFIX, AgentChannel, AgentTopic, AreaCommandTopic

CONFIGURATION, RULES, REVOKED, AUTHORITY = "village.conf", "village.acl", "crl.pem", "ca.pem"
CERTIFICATE, KEY, PID = "server.pem", "server.key", "mosquitto.pid"
RELOAD_PATH, RELOAD_SERVICE = "village-mosquitto-reload.path", "village-mosquitto-reload.service"
LIMITS = "mosquitto-limits.conf"
#: Debian lets mosquitto run as this group.
GROUP = "mosquitto"

#: The largest message (telemetry, events) has 256 KiB; topic and properties come on top. Who sends a larger one is disconnected.
MAX_PACKET_BYTES = 300_000
#: What an agent's own outbox keeps is not queued here; only commands wait, and those expire.
MAX_QUEUED = 1000
#: More than any collector serves.
MAX_CONNECTIONS = 10_000

_WRITES: tuple[AgentChannel, ...] = ("inventory", "telemetry", "event", "time")
_READS: tuple[AgentChannel, ...] = ("command", "ack", "clock", "keys", "schedule")
_AGENT = re.compile(AGENT_PATTERN)
_COLLECTOR = re.compile(r"village_collector-[0-9a-f]{16}", re.ASCII)


def access_rules(agents: Mapping[str, str], collectors: Iterable[str]) -> str:
    """Return who may read and write what: agents with their areas, collectors by the names in their certificates.

    Raises:
        ValueError: a name is none, and could say something else in the file.
        InvalidArea: an area is none.
    """
    lines = ["# Written by village-collector with every change; do not edit. 由采集端自动生成，请勿修改。"]
    for name in sorted(collectors):
        if not _COLLECTOR.fullmatch(name):
            raise ValueError(f"not the name of a collector: {name[:80]!r}")
        lines += ["", f"user {name}", f"topic readwrite {PREFIX}/#"]
    for agent, area in sorted(agents.items()):
        if not _AGENT.fullmatch(agent):
            raise ValueError(f"not an agent id: {agent[:80]!r}")
        # An agent reads its own status to see when the broker keeps a stale will for the last word.
        lines += ["", f"user {agent}", f"topic readwrite {AgentTopic(agent, 'status')}"]
        lines += [f"topic write {AgentTopic(agent, channel)}" for channel in _WRITES]
        lines += [f"topic read {AgentTopic(agent, channel)}" for channel in _READS]
        for code in chain(parse_area(area)):
            lines += [f"topic read {AreaCommandTopic(code)}", f"topic read {PREFIX}/area/{code}/live/#"]
    return "\n".join(lines) + "\n"


def configuration(folder: Path, address: str, port: int, *, user: str = "") -> str:
    """Return mosquitto's configuration of the listener for agents and collectors; an empty `address` means all.

    With `user` it is a whole configuration for a mosquitto that runs as that user and tells its process number in the folder; without,
    a part to be included, as by Debian's `/etc/mosquitto/conf.d`.

    Raises:
        ValueError: the folder's name has a line end.
    """
    if not str(folder).isprintable():
        raise ValueError(f"mosquitto can't read a folder of this name: {str(folder)!r}")
    own = f"user {user}\npid_file {folder / PID}\n" if user else ""
    return f"""\
# Written by `village-collector mosquitto setup`. 由 village-collector mosquitto setup 生成。
{own}
# Nobody without a certificate of the collector's authority; what each may do stands in the rules.
per_listener_settings false
allow_anonymous false
acl_file {folder / RULES}

listener {port}{f" {address}" if address else ""}
cafile {folder / AUTHORITY}
certfile {folder / CERTIFICATE}
keyfile {folder / KEY}
crlfile {folder / REVOKED}
require_certificate true
use_identity_as_username true
# Otherwise an agent could take over the connection and the waiting messages of another by its client id.
use_username_as_clientid true
max_connections {MAX_CONNECTIONS}

max_packet_size {MAX_PACKET_BYTES}
max_queued_messages {MAX_QUEUED}
# No persistent_client_expiration: with it mosquitto 2.0.11 reads freed memory after a reload while an agent is away.
"""


def units(folder: Path) -> dict[str, str]:
    """Return texts for systemd by file name: units that make mosquitto read the files anew when they changed, and its limits."""
    return {
        RELOAD_PATH: f"""\
[Unit]
Description=Village Edge: notice changes of who may connect to mosquitto

[Path]
# Files are renamed into the folder, so the folder changes with each.
PathChanged={_escaped(folder)}

[Install]
WantedBy=multi-user.target
""",
        RELOAD_SERVICE: """\
[Unit]
Description=Village Edge: let mosquitto read anew who may connect
After=mosquitto.service
# Several files change at once, and the collector tries again when a change was missed.
StartLimitIntervalSec=0

[Service]
Type=oneshot
# A change during this pause is read too.
ExecStartPre=/bin/sleep 0.2
# Nothing to do while mosquitto is stopped: it reads the files when it starts.
ExecStart=/bin/systemctl try-reload-or-restart mosquitto.service

NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateNetwork=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
UMask=0077
LimitCORE=0
""",
        LIMITS: """\
[Service]
# Each agent is one file; systemd's usual 1024 end at the thousandth.
LimitNOFILE=65536
""",
    }


def _escaped(folder: Path) -> str:
    # A % is a specifier in units; quotes and spaces are taken as they are by PathChanged=.
    return str(folder).replace("%", "%%")
