"""Secrets of an agent's configuration that other users of the box may read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from village_agent.config import load
from village_agent.exposed import exposed_files

CAMERA = '[[devices]]\nid = "camera"\ndriver = "rtsp"\nurl = "rtsp://{login}10.0.0.9/1"\n{more}\n'
READER = '[[devices]]\nid = "bus"\ndriver = "osdp"\nport = "/dev/ttyUSB0"\nreaders = [{{ id = "gate", address = 1, {key} }}]\n'


def _config(folder: Path, *devices: str) -> Path:
    key = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
    config = folder / "agent.toml"
    config.write_text(
        f'[agent]\nid = "lin"\narea = "330110101205"\nstate_dir = {json.dumps(str(folder / "state"))}\n'
        f'[collector]\nbroker = "mqtt://127.0.0.1"\ncommand_key = "{key[16:]}"\nusername = "lin"\npassword_file = "broker"\n'
        + "".join(devices)
    )
    for name in ("broker", "camera", "scbk"):
        (folder / name).write_text("00" * 16)
        (folder / name).chmod(0o600)
    return config


@pytest.mark.parametrize(
    ("devices", "exposed"),
    [
        ([], ["broker"]),
        ([CAMERA.format(login="", more="")], ["broker"]),
        ([CAMERA.format(login="", more='username = "u"\npassword_file = "camera"')], ["broker", "camera"]),
        ([CAMERA.format(login="", more='username = "u"\npassword = "secret"')], ["broker", "agent.toml"]),
        ([CAMERA.format(login="u:secret@", more="")], ["broker", "agent.toml"]),
        ([READER.format(key='scbk_file = "scbk"')], ["broker", "scbk"]),
        ([READER.format(key=f'scbk = "{"ab" * 16}"')], ["broker", "agent.toml"]),
    ],
)
def test_files_that_hold_secrets(devices: list[str], exposed: list[str], tmp_path: Path) -> None:
    config = _config(tmp_path, *devices)
    config.chmod(0o600)
    settings = load(config)
    assert exposed_files(settings) == []
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    assert sorted(path.name for path in exposed_files(settings)) == sorted(exposed)
