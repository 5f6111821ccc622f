from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.drivers.mqtt.messages import CASES, messages_of
from village_drivers.mqtt.discovery import MAX_COMPONENTS, MAX_DISCOVERY, DiscoveryTopic, parse_discovery, parse_topic
from village_drivers.mqtt.entities import Entity, Omitted
from village_drivers.mqtt.keys import MAX_TEXT, MAX_TOPIC, InvalidDiscovery
from village_drivers.mqtt.measures import measure_of


def _read(component: str, **config: Any) -> Entity | Omitted:
    found = parse_discovery(DiscoveryTopic(component, "node", "thing"), json.dumps(config).encode())
    assert len(found) == 1
    return found[0]


def _entity(component: str, **config: Any) -> Entity:
    found = _read(component, **config)
    assert isinstance(found, Entity), found
    return found


@pytest.mark.parametrize(
    ("topic", "parts"),
    [
        ("homeassistant/sensor/x/config", DiscoveryTopic("sensor", "", "x")),
        ("homeassistant/lock/0x1/lock/config", DiscoveryTopic("lock", "0x1", "lock")),
        ("homeassistant/device/x/config", DiscoveryTopic("device", "", "x")),
        ("homeassistant/sensor/config", None),
        ("homeassistant/status", None),
        ("other/sensor/x/config", None),
        ("homeassistant/sensor/x/y/z/config", None),
        ("homeassistant/sensor/x/configuration", None),
        ("homeassistant/sensor/" + "x" * MAX_TOPIC + "/config", None),
    ],
)
def test_topic(topic: str, parts: DiscoveryTopic | None) -> None:
    assert parse_topic("homeassistant", topic) == parts


def test_prefix_may_have_several_parts() -> None:
    assert parse_topic("site/ha", "site/ha/sensor/x/config") == DiscoveryTopic("sensor", "", "x")


def test_defaults_are_home_assistants() -> None:
    lock = _entity("lock", state_topic="s", command_topic="c")
    assert (lock.command_on, lock.command_off, lock.state_on, lock.state_off) == (
        "UNLOCK",
        "LOCK",
        "UNLOCKED",
        "LOCKED",
    )
    switch = _entity("switch", state_topic="s", command_topic="c", payload_on="1", payload_off=0)
    assert (switch.command_on, switch.command_off, switch.state_on, switch.state_off) == ("1", "0", "1", "0")
    contact = _entity("binary_sensor", state_topic="s", payload_on=False, payload_off=True)
    assert (contact.state_on, contact.state_off) == ("False", "True")
    siren = _entity("siren", command_topic="c")
    assert (siren.command_on, siren.state_topic) == ('{"state": "ON"}', "")
    template = '{"s": "{{ value }}", "tone": "{{ tone }}", "d": {{ duration | int }}, "v": {{ volume_level }}}'
    siren = _entity("siren", command_topic="c", command_template=template, available_tones=['al"arm', "bell"])
    assert siren.command_on == '{"s": "ON", "tone": "alarm", "d": 180, "v": 1}'
    assert switch.availability_mode == "latest"


def test_light_in_json() -> None:
    light = _entity("light", schema="json", state_topic="s", command_topic="c")
    assert light.role == "switch"
    assert light.command_on == '{"state": "ON"}'
    assert light.template is not None
    assert light.template.source == "{{ value_json.state }}"


def test_availability_topic_and_list() -> None:
    one = _entity("lock", command_topic="c", avty_t="lwt", pl_avail="Online", pl_not_avail="Offline").availability
    assert [(item.topic, item.online, item.offline) for item in one] == [("lwt", "Online", "Offline")]
    many = _entity("lock", command_topic="c", **{"~": "base"}, avty=[{"t": "~/a"}, {"topic": "b/~"}], avty_mode="any")
    assert [item.topic for item in many.availability] == ["base/a", "b/base"]
    assert many.availability_mode == "any"


@pytest.mark.parametrize(
    ("component", "config", "reason", "worth_telling"),
    [
        ("climate", {"command_topic": "c"}, "component climate is not used", False),
        ("button", {"command_topic": "c"}, "component button is not used", False),
        ("sensor", {"state_topic": "s", "device_class": "pm25"}, "sensor of class pm25 in no unit", False),
        (
            "sensor",
            {"state_topic": "s", "device_class": "temperature", "unit_of_measurement": "furlong"},
            "furlong",
            False,
        ),
        ("sensor", {"device_class": "temperature"}, "no state_topic", False),
        ("switch", {"state_topic": "s"}, "no command_topic", False),
        ("lock", {"command_topic": "a/+/c"}, "command_topic is no topic", False),
        ("lock", {"command_topic": "c", "state_topic": "#"}, "state_topic is no topic", False),
        ("lock", {"command_topic": "$share/x/c"}, "command_topic is no topic", False),
        ("lock", {"command_topic": "c" * 300}, "command_topic is no topic", False),
        ("lock", {"command_topic": "a\u0007b"}, "can't be printed", False),
        ("lock", {"command_topic": 7}, "no command_topic", False),
        ("lock", {"command_topic": "c", "command_template": "{{ code }}"}, "command template", True),
        ("lock", {"command_topic": "c", "state_topic": "s", "value_template": "{{ x }}"}, "template '{{ x }}'", True),
        ("light", {"command_topic": "c", "schema": "template"}, "light of schema template", False),
        ("device_automation", {"automation_type": "action", "topic": "t"}, "no trigger", False),
        ("device_automation", {"automation_type": "trigger", "topic": "t"}, "without a type", False),
    ],
)
def test_what_is_left_out_and_why(component: str, config: dict[str, Any], reason: str, worth_telling: bool) -> None:
    found = _read(component, **config)
    assert isinstance(found, Omitted)
    assert reason in found.reason
    assert found.worth_telling is worth_telling


@pytest.mark.parametrize(
    ("device_class", "unit", "raw", "field", "value"),
    [
        ("temperature", "°F", 212, "temperature_c", 100),
        ("temperature", "K", 273.15, "temperature_c", 0),
        ("temperature", "", 20, "temperature_c", 20),
        ("voltage", "mV", 2995, "voltage_v", 2.995),
        ("current", "mA", 250, "current_a", 0.25),
        ("pressure", "kPa", 101.3, "pressure_hpa", 1013),
        ("atmospheric_pressure", "mbar", 1000, "pressure_hpa", 1000),
        ("energy", "Wh", 1500, "energy_kwh", 1.5),
        ("power", "kW", 1.2, "power_w", 1200),
        ("carbon_dioxide", "ppm", 420, "co2_ppm", 420),
        ("", "lqi", 80, "link_quality", 80),
    ],
)
def test_units(device_class: str, unit: str, raw: float, field: str, value: float) -> None:
    measure = measure_of(device_class, unit)
    assert measure is not None
    assert (measure.field, measure.convert(raw)) == (field, value)


def test_device_without_a_block_is_named_by_its_entity() -> None:
    info = _entity("lock", command_topic="c", name="Gate", unique_id="u1").info
    assert (info.identifier, info.name) == ("u1", "Gate")
    assert _entity("lock", command_topic="c").info.identifier == "node/thing"


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"[]",
        b"3",
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b"{" + b" " * MAX_DISCOVERY + b"}",
        b"9" * 5000,
    ],
)
def test_what_is_no_announcement(payload: bytes) -> None:
    with pytest.raises(InvalidDiscovery):
        parse_discovery(DiscoveryTopic("lock", "", "x"), payload)


def test_device_announcement_has_a_limit() -> None:
    components = {f"c{number}": {"p": "lock", "cmd_t": "c"} for number in range(MAX_COMPONENTS + 1)}
    with pytest.raises(InvalidDiscovery, match="101 components"):
        parse_discovery(DiscoveryTopic("device", "", "x"), json.dumps({"cmps": components}).encode())


def test_halves_of_surrogates_become_harmless() -> None:
    payload = (
        b'{"command_topic": "c", "payload_lock": "\\ud800", "device": {"identifiers": "\\udfff", "name": "x\\ud800"}}'
    )
    (found,) = parse_discovery(DiscoveryTopic("lock", "", "x"), payload)
    assert isinstance(found, Entity)
    assert (found.command_off.encode(), found.info.name, found.info.identifier) == (b"?", "x?", "?")


_KEYS = [
    *(
        "~",
        "dev",
        "device",
        "ids",
        "identifiers",
        "cns",
        "name",
        "sw",
        "stat_t",
        "state_topic",
        "cmd_t",
        "cmd_tpl",
        "val_tpl",
    ),
    *(
        "avty",
        "avty_t",
        "avty_mode",
        "t",
        "topic",
        "dev_cla",
        "unit_of_meas",
        "exp_aft",
        "cmps",
        "p",
        "pl_on",
        "pl_unlk",
    ),
    *("type", "stype", "atype", "pl", "schema", "uniq_id", "ent_cat"),
]
_WORDS = [
    "x",
    "~/a",
    "sensor",
    "lock",
    "siren",
    "temperature",
    "°C",
    "{{ value }}",
    "{{ value_json.a }}",
    "trigger",
    "all",
    "json",
]
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(_WORDS), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(_KEYS), st.text(max_size=4)), inner, max_size=8),
    ),
    max_leaves=25,
)
_components = st.sampled_from(
    ["sensor", "binary_sensor", "switch", "lock", "siren", "light", "device_automation", "event", "device", "x"]
)


@given(component=_components, document=st.dictionaries(st.sampled_from(_KEYS), _json, max_size=14))
@example(component="device", document={"cmps": {"a": {"p": "lock", "cmd_t": "c"}}, "dev": {"ids": []}})
def test_any_json_is_read_or_refused(component: str, document: dict[str, Any]) -> None:
    try:
        found = parse_discovery(DiscoveryTopic(component, "n", "o"), json.dumps(document).encode())
    except InvalidDiscovery:
        return
    for item in found:
        assert len(item.info.name) <= 80
        assert len(item.info.identifier) <= MAX_TEXT
        if isinstance(item, Entity):
            assert all(len(topic.encode()) <= MAX_TOPIC for topic in item.topics)
            (item.command_on + item.command_off + item.command_topic).encode()


@given(component=_components, payload=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(component: str, payload: bytes) -> None:
    try:
        parse_discovery(DiscoveryTopic(component, "n", "o"), payload)
    except InvalidDiscovery:
        return


@given(data=st.data())
def test_a_real_announcement_with_bytes_changed(data: st.DataObject) -> None:
    messages = [
        message for message in messages_of(data.draw(st.sampled_from(CASES))) if message.topic.endswith("/config")
    ]
    payload = bytearray(data.draw(st.sampled_from(messages)).payload)
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_discovery(DiscoveryTopic("lock", "n", "o"), bytes(payload))
    except InvalidDiscovery:
        return


def test_notify_entity_speaks_a_text() -> None:
    panel = _entity("notify", command_topic="c", command_template='{"m": {{ value | tojson }}}')
    assert panel.role == "speaker"
    assert panel.say is not None
    assert panel.say.fill('a "b"') == b'{"m": "a \\"b\\""}'
    plain = _entity("notify", command_topic="c").say
    assert plain is not None
    assert plain.fill("a\nb") == b"a b"
