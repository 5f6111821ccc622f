"""The configuration: what is accepted, and how every error is told."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.agent.identity.api import api
from village_agent.config import Settings, load
from village_agent.identity.enrolment import enrol
from village_agent.roster import Roster
from village_wire.settings import InvalidSettings

KEY = base64.b64encode(bytes(range(32))).decode()
HEAD = f"""[agent]
id = "box"
area = "330110101205"

[collector]
broker = "mqtt://127.0.0.1:1883"
command_key = "{KEY}"
"""
READER = """
[[devices]]
id = "bus"
driver = "osdp"
port = "/dev/ttyUSB0"

[[devices.readers]]
id = "gate"
address = 1
scbk = "000102030405060708090a0b0c0d0e0f"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(InvalidSettings) as caught:
        Roster.build(load(write(folder, text)))
    assert all(str(folder / "agent.toml") in line for line in str(caught.value).splitlines())
    return [(problem.line, problem.key, problem.reason) for problem in caught.value.problems]


def accepted(folder: Path, text: str) -> Settings:
    settings = load(write(folder, text))
    Roster.build(settings)
    return settings


def test_a_whole_configuration_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    head = HEAD.replace("command_key", 'username = "u"\npassword_file = "password"\ncommand_key')
    door = '\n[[doors]]\nreader = "gate"\nlock = "gate"\ncards = ["26:00ABCDEF"]\n'
    settings = accepted(tmp_path, head + READER + door)
    assert settings.address.password == "secret"
    assert "secret" not in repr(settings)
    assert settings.doors[0].cards == ("26:00abcdef",)
    assert settings.state_dir == tmp_path / "village-agent-state"
    assert len(settings.version) == 16


def test_every_problem_is_told_at_once_with_its_key_and_line(tmp_path: Path) -> None:
    text = HEAD.replace("330110101205", "33") + '\n[[devices]]\nid = "box"\ndriver = "host"\ncolour = "red"\n'
    found = problems(tmp_path, text + '\n[[devices]]\nid = "x"\ndriver = "hots"\n[extra]\n')
    assert [(line, key) for line, key, _ in found] == [
        (17, "extra"),
        (3, "agent.area"),
        (12, "devices.0.colour"),
        (16, "devices.1.driver"),
    ]
    assert found[2][2] == "unknown key"
    assert "unknown driver 'hots'; known are host, osdp" in found[3][2]


@pytest.mark.parametrize(
    ("text", "key", "line", "reason"),
    [
        (HEAD.replace(KEY, "short"), "collector.command_key", 7, "command_key.pub"),
        (HEAD.replace("mqtt:", "http:"), "collector", 5, "mqtt://"),
        (HEAD.replace("command_key", 'password_file = "p"\ncommand_key'), "collector", 5, "needs username"),
        (HEAD.replace("command_key", 'username = "u"\npassword_file = "p"\ncommand_key'), "collector.password_file", 8, "No such file"),
        (HEAD.replace("command_key", 'ca_file = "ca"\ncommand_key'), "collector.ca_file", 7, "No such file"),
        (HEAD + "[outbox]\nmax_bytes = 5\n", "outbox.max_bytes", 9, "2000000"),
        (HEAD + READER + READER.replace("gate", "back"), "devices.1.id", 20, "already used by devices.0.id"),
        (HEAD + READER + READER.replace('"bus"', '"bus2"'), "devices.1", 19, "'gate' is already used in devices.0"),
        (HEAD + '[[devices]]\nid = "agent"\ndriver = "host"\n', "devices.0", 8, "the agent itself"),
        (HEAD + READER + '[[doors]]\nreader = "gaet"\nlock = "gate"\n', "doors.0.reader", 19, "no device 'gaet'"),
        (HEAD + READER + '[[devices]]\nid = "h"\ndriver = "host"\n[[doors]]\nreader = "gate"\nlock = "h"\n', "doors.0.lock", 23, "no lock"),
        (HEAD + READER + '[[doors]]\nreader = "gate"\nlock = "gate"\ncards = ["26:12"]\n', "doors.0.cards.0", 21, "26:00123456"),
        (HEAD + "devices = 5\n", "collector.devices", 8, "unknown key"),
        ("devices = 5\n" + HEAD, "devices", 1, "[[devices]]"),
    ],
)  # fmt: skip
def test_an_error_names_key_line_and_reason(tmp_path: Path, text: str, key: str, line: int, reason: str) -> None:
    ((found_line, found_key, found_reason),) = problems(tmp_path, text)
    assert (found_key, found_line) == (key, line)
    assert reason in found_reason


def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="No such file"):
        load(tmp_path / "absent.toml")
    with pytest.raises(InvalidSettings, match="directory"):
        load(tmp_path)
    with pytest.raises(InvalidSettings, match="line 2"):
        load(write(tmp_path, "[agent]\nid = \n"))


def test_doors_may_name_devices_that_announce_themselves_later(tmp_path: Path) -> None:
    dynamic = '[[devices]]\nid = "zigbee"\ndriver = "mqtt"\nbroker = "mqtt://127.0.0.1:1884"\n'
    accepted(tmp_path, HEAD + READER + dynamic + '[[doors]]\nreader = "gate"\nlock = "zigbee-lock"\n')


def test_the_state_directory_follows_the_file_and_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = HEAD.replace("area", 'state_dir = "state"\narea')
    assert accepted(tmp_path, given).state_dir == tmp_path / "state"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/village-agent")
    assert accepted(tmp_path, HEAD).state_dir == Path("/var/lib/village-agent")


def enrolled(folder: Path) -> Path:
    """The state directory next to the file, with the identity of `box`."""
    state = folder / "village-agent-state"
    state.mkdir(mode=0o700)
    with api(folder) as it:
        enrol(it.url, it.token, state)
    return state


def test_an_enrolled_agent_needs_no_configuration_of_the_collector(tmp_path: Path) -> None:
    state = enrolled(tmp_path)
    settings = accepted(tmp_path, "[collector]\nkeep_alive_seconds = 30\n")
    assert settings.identity is not None
    assert (settings.agent_id, settings.area, settings.command_key) == ("box", "330110101205", None)
    assert settings.address.url == "mqtts://127.0.0.1:1"
    assert settings.address.key_file == state / "identity" / "agent.key"
    assert settings.ca_file == settings.address.ca_file == state / "identity" / "ca.pem"
    assert settings.collector.keep_alive_seconds == 30
    assert accepted(tmp_path, "").collector.keep_alive_seconds == 160
    assert accepted(tmp_path, '[agent]\nid = "box"\narea = "330110101205"\n').agent_id == "box"


def test_a_configuration_that_contradicts_the_identity_says_which_is_right(tmp_path: Path) -> None:
    enrolled(tmp_path)
    found = problems(tmp_path, '[agent]\nid = "other"\narea = "330110101206"\n')
    assert [(line, key) for line, key, _ in found] == [(2, "agent.id"), (3, "agent.area")]
    assert "enrolled this box with 'box'" in found[0][2]
    assert "enrolled this box with '330110101205'" in found[1][2]


def test_a_collector_in_the_configuration_counts_more_than_the_identity(tmp_path: Path) -> None:
    enrolled(tmp_path)
    settings = accepted(tmp_path, HEAD)
    assert settings.identity is None
    assert settings.command_key is not None
    assert settings.address.url == "mqtt://127.0.0.1:1883"
    ((_, key, reason),) = problems(tmp_path, HEAD.replace("command_key", "#"))
    assert (key, reason) == ("collector.command_key", "this key is required")
    assert [key for _, key, _ in problems(tmp_path, HEAD.replace("area", "#").replace("id =", "# ="))] == [
        "agent.id",
        "agent.area",
    ]


def test_neither_a_collector_nor_an_identity_says_how_to_enrol(tmp_path: Path) -> None:
    ((_, _, reason),) = problems(tmp_path, '[agent]\nid = "box"\n')
    assert "village-agent enroll URL TOKEN --state-dir" in reason
    assert str(tmp_path / "village-agent-state") in reason


def test_an_identity_that_can_not_be_used_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    state = enrolled(tmp_path)
    (state / "identity" / "agent.key").chmod(0o644)
    ((_, _, reason),) = problems(tmp_path, "")
    assert "others can read this key" in reason


def test_loudspeakers_and_their_amplifiers_are_devices_of_the_box(tmp_path: Path) -> None:
    horn = '\n[[devices]]\nid = "horn"\ndriver = "sound"\n'
    board = '\n[[devices]]\nid = "board"\ndriver = "modbus"\nport = "/dev/x"\n\n[[devices.relays]]\nid = "power"\ncoil = 0\n'
    own = '\n[loudspeakers]\nquiet_hours = "22:00-06:00"\n\n[[loudspeakers.devices]]\nid = "{}"\namplifier = "{}"\n'
    settings = accepted(tmp_path, HEAD + horn + board + own.format("horn", "power"))
    assert settings.loudspeakers.profile("horn").amplifier == "power"
    assert settings.api is None
    found = [reason for _, _, reason in problems(tmp_path, HEAD + horn + board + own.format("power", "absent"))]
    assert found == [
        "'power' is no loudspeaker; choose one of horn",
        "there is no device 'absent'; choose one of power",
    ]
    meter = '\n[[devices.registers]]\nid = "amperes"\nregister = 0\n'
    ear = '\n[[devices]]\nid = "ear"\ndriver = "microphone"\n'
    heard = HEAD + horn + board + meter + ear + own.format("horn", "power") + 'current = "{}"\nmicrophone = "{}"\n'
    profile = accepted(tmp_path, heard.format("amperes", "ear")).loudspeakers.profile("horn")
    assert (profile.current, profile.current_rise, profile.microphone) == ("amperes", 0.3, "ear")
    found = [reason for _, _, reason in problems(tmp_path, heard.format("power", "horn"))]
    assert found == ["'power' is no meter; choose one of amperes", "'horn' is no microphone; choose one of ear"]
    found = [reason for _, _, reason in problems(tmp_path, heard.format("absent", "gone"))]
    assert found == [
        "there is no device 'absent'; choose one of amperes",
        "there is no device 'gone'; choose one of ear",
    ]
    found = [reason for _, _, reason in problems(tmp_path, HEAD + horn + own.format("horn", "absent"))]
    assert found == ["there is no device 'absent'; none is configured"]
    found = [reason for _, _, reason in problems(tmp_path, HEAD + horn + 'tags = ["School"]\n')]
    assert found == ["write 1 to 32 of a-z, 0-9 and -"]
    found = [reason for _, _, reason in problems(tmp_path, HEAD + horn + 'tags = "school"\n')]
    assert found == ['write a list, as ["one", "another"]']
    found = [reason for _, _, reason in problems(tmp_path, HEAD + "\n[loudspeakers]\nquiet_hours = 'night'\n")]
    assert found == ["write quiet hours as 22:00-06:00"]
