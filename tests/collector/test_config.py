from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel

from village_collector.app import control_store
from village_collector.config import Settings, broker_address, load_settings, read_secret
from village_collector.data_dir import DataDirProblem
from village_collector.ports import StoreUnavailable
from village_collector.trust.command_keys import load_command_key
from village_wire.settings import InvalidSettings


def _write(folder: Path, text: str) -> Path:
    path = folder / "collector.toml"
    path.write_text(text)
    return path


def test_runs_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    settings = load_settings(None)
    assert settings.collector.data_dir == tmp_path / "village-collector-data"
    assert (settings.broker.url, settings.broker.port, settings.telemetry.store) == ("embedded", 1883, "sqlite")
    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 8480)
    assert load_settings(None, Path("here")).collector.data_dir == tmp_path / "here"


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        '[collector]\ndata_dir = "data"\n[broker]\nurl = "mqtts://b"\nusername = "c"\npassword_file = "p"\nca_file = "/etc/ca.pem"\n',
    )
    (tmp_path / "p").write_text("hunter2\n")
    settings = load_settings(path)
    assert settings.collector.data_dir == tmp_path / "data"
    address = broker_address(settings.broker, settings.broker.url)
    assert (address.username, address.password, address.ca_file, address.port) == (
        "c",
        "hunter2",
        Path("/etc/ca.pem"),
        8883,
    )
    assert "hunter2" not in repr(address)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('\n[api]\nhost = "localhost"\n', "line 3: api.host: an IP address of this machine"),
        ('[api]\nhost = "0.0.0.0"\ntls = false\n', "line 1: api: without tls passwords would be readable on the way"),
        ('[api]\nhost = "example.cn"\n', "line 2: api.host: an IP address"),
        ("[api]\nport = 70000\n", "line 2: api.port: "),
        ('[broker]\nurl = "http://x"\n', "line 2: broker.url: a broker's URL starts with mqtt:// or mqtts://"),
        ('[broker]\nurl = "mqtt://u:secret@x"\n', "line 2: broker.url: user name and password have keys of their own"),
        ('[broker]\nhost = "0.0.0.0"\n', "line 2: broker.host: unknown key"),
        (
            '[broker]\npublic_url = "mqtts://x"\n',
            "line 1: broker: the embedded broker is reachable on this machine only",
        ),
        ('[broker]\nfiles_dir = "x"\n', "line 1: broker: files_dir is for a broker with certificates"),
        (
            '[broker]\nurl = "mqtt://x"\nfiles_dir = "x"\n',
            "line 1: broker: files_dir is for a broker with certificates",
        ),
        ('[broker]\nusername = "x"\n', "line 1: broker: the embedded broker takes neither"),
        ('[telemetry]\nstore = "influx"\nurl = "http://x"\n', "line 1: telemetry: "),
        ('[telemetry]\nstroe = "influx"\n', "line 2: telemetry.stroe: unknown key"),
        ('[control]\nurl = "postgresql://u:secret@x/y"\n', "line 2: control.url: the password has a file of its own"),
        ('[control]\nurl = "postgresql:///y?password=secret"\n', "line 2: control.url: the password has a file"),
        ('[control]\npassword_file = "secret"\n', "line 1: control: password_file needs the url of a PostgreSQL"),
        ("[control]\nevents_days = 0\n", "line 2: control.events_days: "),
        ("[telemetry]\nretention_days = 0\n", "line 2: telemetry.retention_days: "),
        ("[colector]\n", "line 1: colector: unknown key"),
    ],
)
def test_a_wrong_value_names_file_line_key_and_reason(tmp_path: Path, text: str, said: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(InvalidSettings) as refused:
        load_settings(path)
    assert str(refused.value).startswith(f"{path}, {said}")
    assert "secret" not in str(refused.value)


def test_the_password_of_the_control_store_is_read_and_not_shown(tmp_path: Path) -> None:
    path = _write(tmp_path, '[control]\nurl = "postgresql://u@127.0.0.1:1/db"\npassword_file = "p"\nevents_days = 30\n')
    (tmp_path / "p").write_text("hunter2\n")
    settings = load_settings(path)
    assert settings.control.events_days == 30
    store = control_store(settings)
    assert store._database._url.password == "hunter2"
    with pytest.raises(StoreUnavailable) as refused:
        store.open()
    assert "hunter2" not in f"{settings!r} {store._database} {refused.value}"
    with pytest.raises(InvalidSettings, match=r"control\.password_file"):
        control_store(
            settings.model_copy(update={"control": settings.control.model_copy(update={"password_file": tmp_path})})
        )


def test_several_collectors_have_one_command_key(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    path = _write(tmp_path, '[collector]\nkeys_dir = "keys"\n')
    shared = load_settings(path, second).collector.keys_dir
    assert shared == tmp_path / "keys"
    shared.mkdir()
    with pytest.raises(DataDirProblem, match="copy command_key from the first collector"):
        load_command_key(second, shared)
    key = load_command_key(first)
    shutil.copy(first / "command_key", shared / "command_key")
    assert load_command_key(second, shared).private_bytes_raw() == key.private_bytes_raw()
    assert (second / "command_key.pub").read_text() == (first / "command_key.pub").read_text()
    assert not (second / "command_key").exists()
    (shared / "command_key").chmod(0o644)
    with pytest.raises(DataDirProblem, match="others may read"):
        load_command_key(second, shared)


def test_secrets_come_from_files_that_hold_only_them(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc\n")
    assert read_secret(path, "telemetry.token_file") == "abc"
    for content in (b"", b"a\nb\n", b"a" * 5000, b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(InvalidSettings, match=r"telemetry\.token_file"):
            read_secret(path, "telemetry.token_file")
    with pytest.raises(InvalidSettings, match="No such file"):
        read_secret(tmp_path / "absent", "telemetry.token_file")


def test_every_key_is_described_in_both_languages_and_has_an_example() -> None:
    for section in Settings.model_fields.values():
        assert isinstance(section.annotation, type)
        assert issubclass(section.annotation, BaseModel)
        for name, field in section.annotation.model_fields.items():
            description = field.description or ""
            assert any("\u4e00" <= letter <= "\u9fff" for letter in description), name
            assert description[0].isascii() or description[0] == '"', name
            assert field.examples, name
