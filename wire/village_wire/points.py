"""Telemetry as InfluxDB line protocol: `<kind>,agent=<agent>,device=<device> <field>=<value>[,…] <nanoseconds>`.

The type of every field is fixed here, because InfluxDB refuses a field that changes type.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from functools import lru_cache
from itertools import repeat

Value = float | int | bool

CONTENT_LINES = "influx-line"
CONTENT_DEFLATED = "influx-line+zlib"
#: A message of 256 KiB takes a 4G uplink of 1 Mbit/s two seconds; a longer one would hold up a door event.
MAX_MESSAGE_BYTES = 256 * 1024
#: zlib can inflate a thousandfold; telemetry deflates about eightfold.
MAX_INFLATED_BYTES = 2 * 1024 * 1024

_F, _I, _B = float, int, bool
#: Fields of every kind with their type. Units are in the names.
KINDS: Mapping[str, Mapping[str, type]] = {
    "agent": {
        "memory_bytes": _I,
        "outbox_bytes": _I,
        "outbox_waiting": _I,
        "outbox_hours": _F,
        "outbox_age_s": _F,
        "lost": _I,
        "lost_events": _I,
        "lost_receipts": _I,
        "lost_telemetry": _I,
        "restarts": _I,
        # Since the start, with the headers of IP, TCP and TLS; and what the last half hour comes to in 30 days.
        "sent_bytes": _I,
        "received_bytes": _I,
        "month_mb": _F,
    },
    "host": {
        "cpu_percent": _F,
        "memory_percent": _F,
        "disk_percent": _F,
        "disk_free_bytes": _I,
        "disk_written_bytes": _I,
        "temperature_c": _F,
        "under_voltage": _B,
        "uptime_s": _F,
        "load_1m": _F,
        "received_bytes": _I,
        "sent_bytes": _I,
        "link_up": _B,
    },
    "reader": {"online": _B, "secure": _B, "tamper": _B, "power_fault": _B},
    "lock": {"locked": _B, "battery_percent": _F},
    "loudspeaker": {"busy": _B, "volume_percent": _F},
    "camera": {
        "packets_per_s": _F,
        "key_frames_per_min": _F,
        "bits_per_s": _F,
        "key_frame_age_s": _F,
        "packet_age_s": _F,
    },
    "switch": {"on": _B},
    "contact": {"on": _B},
    "register": {"value": _F},
    "sensor": {
        "value": _F,
        "temperature_c": _F,
        "humidity_percent": _F,
        "battery_percent": _F,
        "power_w": _F,
        "energy_kwh": _F,
        "voltage_v": _F,
        "current_a": _F,
        "illuminance_lx": _F,
        "pressure_hpa": _F,
        "co2_ppm": _F,
        "water_level_m": _F,
        "on": _B,
        "link_quality": _F,
    },
}

#: What lines look like: a batch of an idle site shrinks to three fifths, for most of it is names. Frozen, because both ends must have
#: the same, and the commonest last; what it lacks only deflates less.
_DICTIONARY = (
    b"sensor,agent=,device= temperature_c=,humidity_percent=,battery_percent=,power_w=,energy_kwh=,voltage_v=,current_a=,"
    b"illuminance_lx=,pressure_hpa=,co2_ppm=,water_level_m=,link_quality= "
    b"register,agent=,device= value=0.0 switch,agent=,device= on=false contact,agent=,device= on=true "
    b"lock,agent=,device= locked=true "
    b"host,agent=,device=box cpu_percent=,memory_percent=,disk_percent=,disk_free_bytes=,disk_written_bytes=,temperature_c=,"
    b"under_voltage=false,uptime_s=,load_1m=,received_bytes=,sent_bytes=,link_up=true "
    b"agent,agent=,device=agent memory_bytes=5,outbox_bytes=0i,outbox_waiting=0i,outbox_hours=87660.0,outbox_age_s=0.0,"
    b"lost=0i,lost_events=0i,lost_receipts=0i,lost_telemetry=0i,restarts=0i,sent_bytes=,received_bytes= 1"
    b"camera,agent=,device= packets_per_s=25.0,key_frames_per_min=60.0,bits_per_s=1000000.0,packet_age_s=0.0,"
    b"key_frame_age_s=0.5 1\nloudspeaker,agent=,device= busy=false,volume_percent=80.0 1"
    b"\nreader,agent=,device= online=true,secure=true,tamper=false,power_fault=false 1"
)


class InvalidPoint(ValueError):
    """A reading does not fit the table of kinds."""


class InvalidBatch(ValueError):
    """A batch breaks the contract; the text is the reason."""


def encode_point(kind: str, agent: str, device: str, fields: Mapping[str, Value], time_ns: int) -> bytes:
    """Return one line, without a line end.

    Raises:
        InvalidPoint: unknown kind or field, a value of another type, one that is not finite, or no field at all.
    """
    types = KINDS.get(kind)
    if types is None:
        raise InvalidPoint(f"unknown kind {kind!r}")
    if not fields:
        raise InvalidPoint(f"a {kind} reading needs at least one field")
    parts = []
    for name, value in fields.items():
        wanted = types.get(name)
        if wanted is None:
            raise InvalidPoint(f"{kind} has no field {name!r}")
        parts.append(f"{name}={_encode_value(kind, name, wanted, value)}")
    return f"{kind},agent={agent},device={device} {','.join(parts)} {time_ns}".encode()


def deflate(lines: bytes) -> bytes:
    """Compress a batch for the content type `influx-line+zlib`, against a preset dictionary (RFC 1950, section 2.2)."""
    encoder = zlib.compressobj(6, zdict=_DICTIONARY)
    return encoder.compress(lines) + encoder.flush()


def inflate(content_type: str, payload: bytes) -> bytes:
    """Return the lines of a message, whatever its content type. A sender may do without the dictionary.

    Raises:
        InvalidBatch: unknown content type, broken compression, or more than `MAX_INFLATED_BYTES`.
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        raise InvalidBatch(f"message of {len(payload)} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    if content_type == CONTENT_LINES:
        return payload
    if content_type != CONTENT_DEFLATED:
        raise InvalidBatch(f"unknown content type {content_type[:40]!r}")
    decoder = zlib.decompressobj(zdict=_DICTIONARY)
    try:
        lines = decoder.decompress(payload, MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise InvalidBatch(f"broken compression: {error}") from None
    if decoder.unconsumed_tail:
        raise InvalidBatch(f"inflates to more than {MAX_INFLATED_BYTES} bytes")
    if not decoder.eof or decoder.unused_data:
        raise InvalidBatch("broken compression: the stream is cut or has a tail")
    return lines


def check_batch(lines: bytes, agent: str) -> int:
    """Check that every line is of a known kind and of this agent; return the number of lines. Syntax is the store's to judge.

    Raises:
        InvalidBatch: empty, or a line is of an unknown kind or of another agent.
    """
    parts = lines.rstrip(b"\n").split(b"\n")
    if not all(map(bytes.startswith, parts, repeat(_prefixes(agent)))):
        bad = next(part for part in parts if not part.startswith(_prefixes(agent)))
        raise InvalidBatch(f"not a line of agent {agent}: {bad[:80].decode(errors='replace')!r}")
    # A second agent tag further on in a line would win in some stores.
    if lines.count(b",agent=") != len(parts):
        raise InvalidBatch("a line names an agent twice")
    return len(parts)


@lru_cache(maxsize=20_000)
def _prefixes(agent: str) -> tuple[bytes, ...]:
    return tuple(f"{kind},agent={agent},device=".encode() for kind in KINDS)


def _encode_value(kind: str, name: str, wanted: type, value: Value) -> str:
    if wanted is bool:
        if isinstance(value, bool):
            return "true" if value else "false"
    elif isinstance(value, bool):
        pass
    elif wanted is int:
        if isinstance(value, int) and -(2**63) <= value < 2**63:
            return f"{value}i"
    elif isinstance(value, (int, float)) and math.isfinite(value):
        return repr(float(value))
    raise InvalidPoint(f"{kind}.{name} takes {wanted.__name__}, not {value!r}")
