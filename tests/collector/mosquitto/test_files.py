"""What stands in the files that mosquitto and systemd read."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.collector.kit import VILLAGE
from tests.collector.mosquitto.test_topics import allowed
from tests.peers import absent, free_port, peer
from village_collector.mosquitto.files import access_rules, configuration, units
from village_wire.areas import InvalidArea
from village_wire.ids import AGENT_PATTERN

COLLECTOR = "village_collector-0123456789abcdef"
_AREAS = st.sampled_from([VILLAGE, f"{VILLAGE}-g01", f"{VILLAGE}-g01-h002", "330000000000", "441900003000"])
_AGENTS = st.from_regex(re.compile(AGENT_PATTERN.replace("$", r"\Z"), re.ASCII))


def rights(text: str) -> dict[str, dict[str, str]]:
    """User -> topic -> right, read as mosquitto does: a line counts for the user above it."""
    found: dict[str, dict[str, str]] = {}
    user = ""
    for line in text.splitlines():
        words = line.split(" ")
        if words[0] == "user":
            (_, user) = words
            found[user] = {}
        elif words[0] == "topic":
            (_, right, topic) = words
            assert topic not in found[user]
            found[user][topic] = right.replace("readwrite", "read write")
        else:
            assert line == "" or line.startswith("#")
    return found


@given(st.dictionaries(_AGENTS, _AREAS, max_size=5))
def test_each_agent_has_its_own_lines_and_nobody_else_any(agents: dict[str, str]) -> None:
    found = rights(access_rules(agents, [COLLECTOR]))
    assert found.pop(COLLECTOR) == {"village/1/#": "read write"}
    assert found.keys() == agents.keys()
    for agent, area in agents.items():
        expected = {topic: right for topic, right in allowed(agent, area).items() if "/live/" not in topic}
        live = {topic.replace("/command", "/live/#"): "read" for topic in expected if "/area/" in topic}
        assert found[agent] == expected | live


def test_the_same_people_give_the_same_text_in_any_order() -> None:
    one, other = {"a": VILLAGE, "b": VILLAGE}, {"b": VILLAGE, "a": VILLAGE}
    second = "village_collector-" + "f" * 16
    assert access_rules(one, [COLLECTOR, second]) == access_rules(other, [second, COLLECTOR])


@pytest.mark.parametrize(
    "agent", ["", "a b", "a\ntopic readwrite #", "A", "a/b", "+", "village_probe", "a" * 33, "a\n"]
)
def test_a_name_that_could_say_more_is_refused(agent: str) -> None:
    with pytest.raises(ValueError, match="not an agent id"):
        access_rules({agent: VILLAGE}, [])
    with pytest.raises(ValueError, match="not the name of a collector"):
        access_rules({}, [agent])


def test_an_area_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArea):
        access_rules({"a": "+"}, [])


def test_a_folder_whose_name_would_end_a_line_is_refused() -> None:
    with pytest.raises(ValueError, match="can't read a folder"):
        configuration(Path("/srv/a\nallow_anonymous true"), "", 8883)


async def test_the_configuration_can_be_part_of_debian_s(tmp_path: Path) -> None:
    """mosquitto ends at a second pid_file or persistence_location; it gets as far as the files that are missing here."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "village.conf").write_text(configuration(tmp_path, "127.0.0.1", free_port()))
    (tmp_path / "mosquitto.conf").write_text(
        f"pid_file {tmp_path}/mosquitto.pid\npersistence true\npersistence_location {tmp_path}/\n"
        f"log_dest stderr\nuser root\ninclude_dir {tmp_path}/conf.d\n"
    )
    process = await asyncio.create_subprocess_exec(
        peer("mosquitto"), "-c", tmp_path / "mosquitto.conf", stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(10):
        _, log = await process.communicate()
    assert "Duplicate" not in log.decode()
    assert "village.acl" in log.decode()


#: What `systemd-analyze security` says of the service, which asks systemd for a reload and needs little else.
EXPOSURE = 1.6


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    program = Path("/usr/bin/systemd-analyze")
    if not program.exists():
        absent("systemd-analyze is absent: apt-get install systemd")
    made = units(Path("/var/lib/village-mosquitto"))
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    names = [tmp_path / name for name in made if name.endswith((".path", ".service"))]
    assert len(names) == 2
    verified = subprocess.run([program, "verify", *names], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    (tmp_path / "mosquitto.service.d").mkdir()
    (tmp_path / "mosquitto.service").write_text("[Service]\nExecStart=/bin/true\n")
    (tmp_path / "mosquitto-limits.conf").rename(tmp_path / "mosquitto.service.d" / "village.conf")
    verified = subprocess.run(
        [program, "verify", tmp_path / "mosquitto.service"], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    score = subprocess.run(
        [program, "security", "--offline=true", "--no-pager", tmp_path / "village-mosquitto-reload.service"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    exposure = float(re.findall(r"Overall exposure level for \S+: ([0-9.]+)", score)[0])
    assert exposure <= EXPOSURE, score


def test_a_percent_sign_in_the_folder_is_no_specifier() -> None:
    assert "PathChanged=/srv/50%%\n" in units(Path("/srv/50%"))["village-mosquitto-reload.path"]
