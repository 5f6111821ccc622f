"""Readers of what devices, cameras, programs and the box's own kernel say."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml
from pymodbus.pdu.bit_message import ReadCoilsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest

from tests.attack.decoders.kit import Decoder, join, records
from tests.drivers.mqtt.messages import CASES, messages_of
from village_drivers.host import Host, HostConfig, _number
from village_drivers.kit import DriverEvent, Message, Misconfigured, NotConnected
from village_drivers.microphone.source import missing
from village_drivers.modbus.frames import (
    HEADER,
    ExceptionAnswer,
    InvalidAnswer,
    Request,
    decode_answer,
    decode_header,
    find_rtu,
)
from village_drivers.mqtt.discovery import parse_discovery, parse_topic
from village_drivers.mqtt.keys import InvalidDiscovery
from village_drivers.mqtt.locks import _read as read_open_locks
from village_drivers.mqtt.site import Site
from village_drivers.mqtt.templates import UnsupportedTemplate, fill_command, parse_template, read_payload
from village_drivers.osdp import commands
from village_drivers.osdp.config import ReaderConfig
from village_drivers.osdp.frames import FrameSplitter, build_frame
from village_drivers.osdp.reader import Reader
from village_drivers.osdp.session import Session
from village_drivers.rtsp.meter import Meter
from village_drivers.rtsp.source import StreamSource
from village_drivers.sound.wav_file import WavFile, header
from village_drivers.speech.replies import read_replies
from village_wire.events import Alarm
from village_wire.points import Value, encode_point
from village_wire.states import ADVICE, Status

VECTORS = Path(__file__).parents[2] / "vectors"


class Log:
    """A `Report` that refuses what the wire would refuse, and keeps the rest."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def reading(self, device: str, kind: str, fields: Mapping[str, Value]) -> None:
        encode_point(kind, "lin-1", device, fields, 1)
        self.told.append((device, kind, dict(fields)))

    def event(self, device: str, event: DriverEvent) -> None:
        if isinstance(event, Alarm):
            event.model_dump_json()
        self.told.append((device, repr(event)))

    def state(self, device: str, status: Status, code: str, evidence: str) -> None:
        if code not in ADVICE:
            raise AssertionError(f"no advice for {code}")
        evidence.encode()
        self.told.append((device, status, code, evidence))

    def devices_changed(self) -> None:
        self.told.append("devices changed")


def _frames(name: str) -> list[bytes]:
    document = yaml.safe_load((VECTORS / name).read_text())
    return [bytes.fromhex(vector["frame"].replace(" ", "")) for vector in document["vectors"] if "frame" in vector]


def _splitter(data: bytes) -> object:
    splitter = FrameSplitter()
    found = splitter.feed(data[: len(data) // 2]) + splitter.feed(data[len(data) // 2 :])
    # A reader that is silent afterwards has let go of everything, and a good frame is found after any noise.
    splitter.reset()
    good = build_frame(5, 0, b"\x40", reply=True)
    assert [frame.raw for frame in splitter.feed(good)] == [good]
    return found


def _reader(data: bytes) -> object:
    """Records are what a reader answers in turn: a byte of control flags, then code and data; sequence and checksum are right."""
    report, now = Log(), time.monotonic()
    reader = Reader(ReaderConfig(id="gate", address=5, secure=False))
    session = Session(5, None, now)
    reader.start(report, session, lambda: None)
    splitter = FrameSplitter()
    for [record] in records(data, 1)[:24]:
        session.panel.submit(commands.LOCAL_STATUS, lambda _outcome: None)
        sent = reader.transmit(now)
        if not sent:
            now += 0.05
            continue
        control = sent[(sent[0] == 0xFF) + 4] & 3 | (record[0] if record else 0) & 0x08
        for frame in splitter.feed(build_frame(5, control, record[1:240] or b"\x40", reply=True)):
            reader.answered(frame, now)
        reader.publish(now, "")
    reader.stop()
    # What libosdp says depends on its clock; that it survives is what counts.
    return None


_REQUESTS: tuple[Request, ...] = (
    ReadCoilsRequest(address=0, count=8),
    ReadHoldingRegistersRequest(address=0, count=2),
    ReadHoldingRegistersRequest(address=0, count=125),
    WriteSingleCoilRequest(address=0, bits=[True]),
)


def _rtu(data: bytes) -> object:
    answers: list[object] = []
    for request in _REQUESTS:
        pdu = find_rtu(1, request, data[-512:])
        if pdu is not None:
            try:
                answers.append(decode_answer(request, pdu))
            except (InvalidAnswer, ExceptionAnswer) as error:
                answers.append(str(error))
    return answers


def _tcp(data: bytes) -> object:
    decoded = decode_header(data[:HEADER].ljust(HEADER, b"\0"))
    return decoded, decode_answer(_REQUESTS[0], data[HEADER:])


def _discovery(data: bytes) -> object:
    found = []
    for topic, payload in records(data, 2)[:50]:
        place = parse_topic("homeassistant", topic.decode(errors="replace"))
        if place is not None:
            found.append(parse_discovery(place, payload))
    return found


def _template(data: bytes) -> object:
    source, text, *_ = records(data, 2)[0]
    payload = read_payload(text)
    rendered = parse_template(source.decode(errors="replace")).render(payload)
    if rendered is not None:
        rendered.encode(errors="replace")
    return rendered


def _command_template(data: bytes) -> object:
    return fill_command(data.decode(errors="replace"), "ON")


def _site(data: bytes) -> object:
    report, site = Log(), Site("homeassistant", ("*",), 20, lambda _key, _on: None, lambda _entity: "")
    site.connected(0.0)
    listed = [
        Message(topic.decode(errors="replace"), payload, kept == b"r")
        for topic, kept, payload in records(data, 3)[:200]
    ]
    for second, message in enumerate(listed):
        site.receive(message, float(second), report)
    site.tick(1e6, report)
    return report.told


def _rtsp_log(data: bytes) -> object:
    meter = Meter(0.0)
    for second, line in enumerate(data.splitlines(keepends=True), 1):
        meter.line(line, float(second))
    fields = meter.reading(1000.0)
    Log().reading("camera", "camera", fields)
    return fields


def _rtsp_failure(data: bytes) -> object:
    source = StreamSource.make("rtsp://camera/live", "admin", "se cret%", "tcp")
    error = source.failure(source.hide(data.decode(errors="replace")))
    assert "se cret%" not in str(error)
    return error.code, str(error)


def _rtsp_url(data: bytes) -> object:
    return StreamSource.make(data.decode(errors="replace"), "", "", "tcp").script()


@contextmanager
def folder() -> Iterator[Path]:
    """Lend a folder in memory."""
    place = Path(tempfile.mkdtemp(prefix="village-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        yield place
    finally:
        shutil.rmtree(place)


def _wav(data: bytes) -> object:
    with folder() as place:
        path = place / "x.wav"
        path.write_bytes(data)
        file = WavFile(path)
        file.append(b"\0\0")
        file.close()
        return path.stat().st_size


def _open_locks(data: bytes) -> object:
    with folder() as place:
        (place / "locks").write_bytes(data)
        return read_open_locks(place / "locks")


def _host(data: bytes) -> object:
    """A kernel's numbers: the temperature and, if the input has a second record, the flags of the firmware."""
    texts = records(data, 1)
    with folder() as place:
        zone = place / "class/thermal/thermal_zone0"
        firmware = place / "devices/platform/soc/soc:firmware"
        zone.mkdir(parents=True)
        firmware.mkdir(parents=True)
        (zone / "temp").write_bytes(texts[0][0])
        (firmware / "get_throttled").write_bytes(texts[-1][0])
        host = Host(HostConfig(id="box", driver="host"), None)  # type: ignore[arg-type]
        host.sys = place
        fields = host._measure()
        Log().reading("box", "host", fields)
        host._faults(fields)
        return _number(zone / "temp", 10), fields.get("temperature_c"), fields.get("under_voltage")


_OSDP = _frames("osdp.yaml")
_REPLIES = [frame[5:-2] for frame in _OSDP if frame[0] == 0x53 and frame[1] & 0x80 and len(frame) > 8]
_ONLINE = [
    bytes.fromhex("45 01 FE CA 01 01 04 03 02 01 0B 0C 0D"),
    bytes.fromhex("46 01 01 01 02 01 01 03 01 01 04 01 01 05 01 01 06 01 01 08 01 00 09 00 00 0A 00 01 10 02 00"),
]


def _lines_of(case: Path) -> bytes:
    return join(*((m.topic.encode(), b"r" if m.retained else b"", m.payload) for m in messages_of(case)))


_DISCOVERIES = tuple(
    join(*((m.topic.encode(), m.payload) for m in messages_of(case) if m.topic.endswith("/config"))) for case in CASES
)
_TEMPLATES = (
    b"{{ value_json.temperature | round(1) }}",
    b"{{ value_json['a'][0].b | default('x') | lower }}",
    b"{{ 'ON' if value_json.state == 'open' else 'OFF' }}",
    b"{% if value_json.x > 3 %}A{% else %}B{% endif %}",
    b"{{ value | float | int(0) }}",
    b"{{ value_json.x | round(-2) }}",
)
_FRAMECRC = (
    b"#tb 0: 1/90000\n#media_type 0: video\n0,          0,          0,     3600,    20000, 0x1a2b3c4d\n"
    b"0,       3600,       3600,     3600,     1500, 0x1a2b3c4d, F=0x0, S=1, 5, 0x00000000\n"
)

DECODERS = (
    Decoder("speech_replies", read_replies, (), (bytes.fromhex("4a 41 45 4e 4f"), *_frames("syn6288.yaml")[:2])),
    Decoder("osdp_frames", _splitter, (), (*_OSDP, b"".join(_OSDP))),
    Decoder(
        "osdp_reader",
        _reader,
        (),
        (
            join(*([b"\0" + reply] for reply in (*_ONLINE, *_REPLIES))),
            join(*([b"\0" + reply] for reply in (*_ONLINE, b"\x41\x03"))),
        ),
        "records",
        slow=True,
    ),
    Decoder("modbus_rtu", _rtu, (), _frames("modbus_rtu_relay.yaml")),
    Decoder(
        "modbus_tcp",
        _tcp,
        (InvalidAnswer, ExceptionAnswer),
        (bytes.fromhex("00 01 00 00 00 04 01 01 01 05"),),
    ),
    Decoder("mqtt_discovery", _discovery, (InvalidDiscovery,), _DISCOVERIES, "records", 160 * 1024, memory=64 << 20),
    Decoder(
        "mqtt_template",
        _template,
        (UnsupportedTemplate,),
        (
            *(
                join((template, b'{"temperature":21.55,"a":[{"b":"Q"}],"state":"open","x":3.5}'))
                for template in _TEMPLATES
            ),
            join((_TEMPLATES[4], b"21.5")),
        ),
        "records",
    ),
    Decoder("mqtt_command_template", _command_template, (UnsupportedTemplate,), (b'{"state": "{{ value }}"}',)),
    Decoder("mqtt_site", _site, (), tuple(map(_lines_of, CASES)), "records", 160 * 1024, memory=64 << 20),
    Decoder("mqtt_open_locks", _open_locks, (), (json.dumps(["lock/a/b", "lock/c/d"]).encode(),), "json"),
    Decoder("rtsp_log", _rtsp_log, (), (_FRAMECRC,)),
    Decoder(
        "rtsp_failure",
        _rtsp_failure,
        (),
        (
            b"[rtsp @ 0x1] method DESCRIBE failed: 401 Unauthorized",
            b"Server returned 404 Not Found",
            b"x admin:se%20cret%25@ y",
        ),
    ),
    Decoder("rtsp_url", _rtsp_url, (ValueError,), (b"rtsp://a:b%40@camera:554/x?y=1", b"rtsps://[::1]/live")),
    Decoder("pulse_sources", lambda data: missing(data, "mic"), (), (b"0\tmic\tmodule\ts16le 1ch 48000Hz\tIDLE\n",)),
    Decoder("wav_file", _wav, (Misconfigured, NotConnected), (header(4) + b"\0\0\1\1", b"")),
    Decoder("host_files", _host, (), (b"45123\n\x1e50005\n", b"-5000"), "records"),
)
