"""What installers copy must work as it is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.agent.identity.api import api
from tests.peers import absent
from village_agent.config import load
from village_agent.identity.enrolment import enrol
from village_collector.config import load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_sample_agent_has_every_driver_and_loads(tmp_path: Path) -> None:
    from village_drivers.registry import DRIVERS

    text = (DEPLOY / "samples" / "agent.toml").read_text()
    for name, content in (("gate.scbk", "00" * 16), ("square.password", "secret")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(content)
        text = text.replace(f"/etc/village-edge/{name}", str(tmp_path / name))
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with api(tmp_path) as collector:
        enrol(collector.url, collector.token, state)
    (tmp_path / "agent.toml").write_text(text.replace("/var/lib/village-agent", str(state)))
    settings = load(tmp_path / "agent.toml")
    assert {entry.config.driver for entry in settings.devices} == set(DRIVERS)


@pytest.mark.parametrize("name", ["collector.toml", "collector-influx.toml", "collector-several.toml"])
def test_the_sample_collectors_load(name: str, tmp_path: Path) -> None:
    text = (DEPLOY / "samples" / name).read_text()
    for secret in re.findall(r'"(/etc/village-edge/[\w-]+)"', text):
        (tmp_path / "secret").touch(mode=0o600)
        (tmp_path / "secret").write_text("secret")
        text = text.replace(secret, str(tmp_path / "secret"))
    (tmp_path / name).write_text(text)
    load_settings(tmp_path / name)


#: What `systemd-analyze security` says of each unit, from 0 (nothing is exposed) to 10; a greater one needs a reason.
EXPOSURE = {"village-agent": 1.5, "village-collector": 1.1}


@pytest.mark.parametrize("name", EXPOSURE)
def test_systemd_accepts_the_units(name: str, tmp_path: Path) -> None:
    program = Path("/usr/bin/systemd-analyze")
    if not program.exists():
        absent("systemd-analyze is absent: apt-get install systemd")
    unit = tmp_path / f"{name}.service"
    text = (DEPLOY / "systemd" / unit.name).read_text()
    unit.write_text(text.replace(f"/opt/village-edge/.venv/bin/{name}", "/bin/true"))
    verified = subprocess.run([program, "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    score = subprocess.run(
        [program, "security", "--offline=true", "--no-pager", unit], capture_output=True, text=True, check=True
    ).stdout
    exposure = float(re.findall(r"Overall exposure level for \S+: ([0-9.]+)", score)[0])
    assert exposure <= EXPOSURE[name], score
