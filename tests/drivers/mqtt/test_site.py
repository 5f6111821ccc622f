from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.drivers.mqtt.messages import CASES, messages_of
from tests.drivers.recorder import Recorder
from village_drivers.kit import Message
from village_drivers.mqtt.site import GRACE_SECONDS, MAX_STATE, Site
from village_wire.events import Alarm, ButtonPressed
from village_wire.ids import DeviceId
from village_wire.presence import DeviceEntry


class _World:
    """A site with a report, fed by hand."""

    def __init__(self, include: tuple[str, ...] = ("*",), max_devices: int = 100) -> None:
        self.report = Recorder()
        self.confirmed: list[tuple[str, bool]] = []
        self.site = Site("ha", include, max_devices, lambda key, on: self.confirmed.append((key, on)))
        self.site.connected(0.0)
        self.now = 0.0

    def say(self, topic: str, payload: Any, *, retained: bool = False) -> tuple[str, ...]:
        data = (
            payload
            if isinstance(payload, bytes)
            else (payload if isinstance(payload, str) else json.dumps(payload)).encode()
        )
        return self.site.receive(Message(topic, data, retained), self.now, self.report).subscribe

    def lock(self, name: str, **more: Any) -> None:
        config = {
            "state_topic": f"{name}/s",
            "command_topic": f"{name}/c",
            "device": {"identifiers": [name], "name": name},
        }
        self.say(f"ha/lock/{name}/config", {**config, **more}, retained=True)

    def status(self, name: str) -> str:
        return self.report.status(name)


def _sensor(name: str, **more: Any) -> dict[str, Any]:
    device = {"identifiers": [name], "name": name}
    return {
        "state_topic": f"{name}/t",
        "device_class": "temperature",
        "unit_of_measurement": "°C",
        "device": device,
        **more,
    }


def test_removal_by_an_empty_message() -> None:
    world = _World()
    world.lock("gate")
    world.say("ha/sensor/gate-t/config", _sensor("gate"))
    assert [unit.kind for unit in world.site.units.values()] == ["lock"]
    world.say("ha/lock/gate/config", "", retained=True)
    assert [unit.kind for unit in world.site.units.values()] == ["sensor"]
    world.say("ha/sensor/gate-t/config", "")
    assert not world.site.units
    assert world.say("ha/sensor/never/config", "") == ()


def test_the_same_announcement_again_changes_nothing() -> None:
    world = _World()
    world.lock("gate")
    before = world.site.units["gate"]
    message = Message("ha/lock/gate/config", json.dumps({"state_topic": "gate/s"}).encode(), True)
    world.site.receive(message, 0.0, world.report)
    changed = world.site.receive(message, 0.0, world.report)
    assert changed.subscribe == ()
    assert not changed.devices_changed
    world.lock("gate")
    assert world.site.units["gate"] == before


def test_availability_modes() -> None:
    for mode, expected in {
        "all": ["unknown", "unknown", "ok", "down", "down"],
        "any": ["unknown", "ok", "ok", "ok", "down"],
        "latest": ["unknown", "ok", "ok", "down", "down"],
    }.items():
        world = _World()
        world.lock("gate", availability=[{"topic": "a"}, {"topic": "b"}], availability_mode=mode)
        seen = [world.status("gate").split()[0]]
        for topic, word in (("a", "online"), ("b", "online"), ("b", "offline"), ("a", "offline")):
            world.say(topic, word, retained=True)
            seen.append(world.status("gate").split()[0])
        assert seen == expected, mode


def test_availability_in_other_words_is_no_word() -> None:
    world = _World()
    world.lock("gate", availability_topic="a")
    world.say("a", "perhaps")
    assert world.status("gate") == "unknown starting"


def test_zigbee2mqtt_that_sends_plain_words() -> None:
    world = _World()
    world.lock("gate", availability=[{"topic": "a", "value_template": "{{ value_json.state }}"}])
    world.say("a", "online", retained=True)
    assert world.status("gate") == "ok works"


def test_device_without_availability_is_ok_once_it_is_heard() -> None:
    world = _World()
    world.say("ha/sensor/x/config", _sensor("x"))
    assert world.status("x") == "unknown not_reported"
    world.say("x/t", "20", retained=True)
    assert world.status("x") == "unknown not_reported"
    assert not world.report.readings
    world.say("x/t", "21")
    assert world.status("x") == "ok works"
    assert world.report.readings == [("x", "sensor", {"temperature_c": 21.0})]


def test_silence_longer_than_expire_after() -> None:
    world = _World()
    world.say("ha/sensor/x/config", _sensor("x", expire_after=30))
    world.say("x/t", "21")
    world.now = 29.0
    world.site.tick(world.now, world.report)
    assert world.status("x") == "ok works"
    world.now = 30.0
    world.site.tick(world.now, world.report)
    assert world.status("x") == "down device_offline"
    assert world.report.states["x"][2] == "no message for 30 s"
    world.say("x/t", "21")
    assert world.status("x") == "ok works"


def test_unchanged_values_are_repeated_every_five_minutes() -> None:
    world = _World()
    world.say("ha/sensor/x/config", _sensor("x"))
    for second in range(0, 650, 10):
        world.now = float(second)
        world.say("x/t", "21")
    assert len(world.report.readings) == 3


def test_state_of_a_lock_from_a_kept_message_confirms_nothing() -> None:
    world = _World()
    world.lock("gate")
    world.say("gate/s", "UNLOCKED", retained=True)
    assert world.confirmed == []
    world.say("gate/s", "JAMMED")
    world.say("gate/s", "LOCKED")
    assert world.confirmed == [("lock//gate", False)]
    assert world.report.readings == [("gate", "lock", {"locked": True})]


def test_button_presses_that_were_kept_are_ghosts() -> None:
    world = _World()
    config = {
        "automation_type": "trigger",
        "type": "action",
        "subtype": "single",
        "payload": "single",
        "topic": "b/action",
    }
    world.say("ha/device_automation/b/config", {**config, "device": {"identifiers": ["b"], "name": "b"}})
    world.say("b/action", "single", retained=True)
    assert world.report.events == []
    world.say("b/action", "single")
    assert world.report.events == [("b", ButtonPressed(action="single"))]
    assert world.site.units["b"].kind == "button"


def test_event_entity() -> None:
    world = _World()
    world.say("ha/event/bell/config", {"state_topic": "bell", "device": {"identifiers": "bell", "name": "bell"}})
    world.say("bell", {"event_type": "press", "n": 1})
    world.say("bell", {"n": 1})
    assert world.report.events == [("bell", ButtonPressed(action="press"))]


def test_alarm_that_ends() -> None:
    world = _World()
    config = {"state_topic": "s", "device_class": "smoke", "device": {"identifiers": "s", "name": "s"}}
    world.say("ha/binary_sensor/s/config", config)
    for word in ("OFF", "ON", "ON", "OFF"):
        world.say("s", word)
    assert world.report.events == [("s", Alarm(code="smoke", active=True)), ("s", Alarm(code="smoke", active=False))]


def test_ids_do_not_depend_on_the_order_of_messages() -> None:
    blocks = [("id-a", "Haustür"), ("id-b", "haust-r"), ("id-c", "门"), ("id-d", "门"), ("id-e", "Other")]
    found = set()
    for order in itertools.permutations(blocks):
        world = _World()
        for identifier, name in order:
            world.say(
                f"ha/lock/{identifier}/config",
                {"command_topic": "c", "device": {"identifiers": identifier, "name": name}},
            )
        found.add(tuple(sorted((name, unit.entities[0].info.identifier) for name, unit in world.site.units.items())))
    assert len(found) == 1
    ids = {identifier: name for name, identifier in next(iter(found))}
    assert ids["id-e"] == "other"
    assert ids["id-c"] == "id-c"
    assert ids["id-a"].startswith("haust-r-")
    assert ids["id-b"].startswith("haust-r-")


def test_include_by_name_id_or_identifier() -> None:
    for pattern in ("Front *", "front-door", "0x0015*"):
        world = _World(include=(pattern,))
        world.say("ha/lock/a/config", {"command_topic": "c", "device": {"ids": ["0x00158d"], "name": "Front Door"}})
        world.say("ha/lock/b/config", {"command_topic": "c", "device": {"ids": ["0xff"], "name": "Back Door"}})
        assert list(world.site.units) == ["front-door"]


def test_trigger_before_its_device_has_a_name() -> None:
    world = _World(include=("bell",))
    config = {"automation_type": "trigger", "type": "action", "subtype": "x", "topic": "t", "device": {"ids": ["1"]}}
    world.say("ha/device_automation/b/config", config)
    assert not world.site.units
    world.say("ha/sensor/x/config", {**_sensor("x"), "device": {"ids": ["1"], "name": "bell"}})
    assert world.site.units["bell"].kind == "button"


def test_no_more_devices_than_allowed(caplog: Any) -> None:
    world = _World(max_devices=3)
    for number in range(10):
        world.lock(f"gate-{number}")
    assert len(world.site.units) == 3
    assert caplog.text.count("max_devices = 3") == 1
    world.say("ha/lock/gate-0/config", "")
    world.lock("gate-9")
    assert "gate-9" in world.site.units


def test_what_is_not_announced_again_after_a_reconnection_is_dropped() -> None:
    world = _World()
    world.lock("kept")
    world.lock("gone")
    world.now = 100.0
    world.site.connected(world.now)
    assert set(world.site.units) == {"kept", "gone"}
    world.lock("kept")
    world.now += GRACE_SECONDS
    assert world.site.tick(world.now, world.report).devices_changed
    assert set(world.site.units) == {"kept"}


def test_topics_are_subscribed_again_after_a_reconnection() -> None:
    world = _World()
    config = {"state_topic": "s", "command_topic": "c", "availability_topic": "a"}
    assert world.say("ha/lock/x/config", config) == ("s", "a")
    assert world.say("ha/lock/x/config", config) == ()
    world.site.connected(1.0)
    assert world.say("ha/lock/x/config", config) == ("s", "a")


def test_memory_is_given_back() -> None:
    world = _World()
    for number in range(2000):
        world.lock(f"gate-{number}", availability_topic=f"a/{number}")
        world.say(f"a/{number}", "online")
        world.say(f"gate-{number}/s", "LOCKED")
        world.say(f"ha/lock/gate-{number}/config", "")
    site = world.site
    left = (
        site._sources,
        site._announced,
        site._units,
        site._topics.listeners,
        site.readings.states,
        site.conditions._said,
    )
    assert [len(part) for part in left] == [0] * len(left)


def test_long_state_is_not_read() -> None:
    world = _World()
    world.say("ha/sensor/x/config", _sensor("x"))
    world.say("x/t", "2" + " " * MAX_STATE)
    assert not world.report.readings


_entry = TypeAdapter(DeviceId)
_topics = sorted({message.topic for case in CASES for message in messages_of(case)})
_payloads = sorted({message.payload for case in CASES for message in messages_of(case)})
_messages = st.builds(
    Message,
    st.one_of(st.sampled_from(_topics), st.text(max_size=20).map(lambda text: f"homeassistant/lock/{text}/config")),
    st.one_of(st.sampled_from(_payloads), st.binary(max_size=60), st.just(b"")),
    st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(messages=st.lists(st.one_of(_messages, st.floats(0, 100)), max_size=25))
def test_any_messages_leave_a_sound_site(messages: list[Message | float]) -> None:
    report = Recorder()
    site = Site("homeassistant", ("*",), 5, lambda _key, _on: None)
    site.connected(0.0)
    now = 0.0
    for message in messages:
        if isinstance(message, Message):
            changes = site.receive(message, now, report)
            assert all("+" not in topic and "#" not in topic for topic in changes.subscribe)
        else:
            now += message
            site.tick(now, report)
    for name, unit in site.units.items():
        DeviceEntry(id=name, driver="mqtt", kind=unit.kind, name=unit.name, firmware=unit.firmware)
    assert len({unit.entities[0].info.identifier for unit in site.units.values()}) <= 5
