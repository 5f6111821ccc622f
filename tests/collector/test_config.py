from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from village_collector.config import Settings, broker_address, load_settings, read_secret
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
        ('\n[api]\nhost = "0.0.0.0"\n', "line 3: api.host: the API listens on this machine's loopback only"),
        ('[api]\nhost = "example.cn"\n', "line 2: api.host: the API listens"),
        ("[api]\nport = 70000\n", "line 2: api.port: "),
        ('[broker]\nurl = "http://x"\n', "line 2: broker.url: a broker's URL starts with mqtt:// or mqtts://"),
        ('[broker]\nurl = "mqtt://u:secret@x"\n', "line 2: broker.url: user name and password have keys of their own"),
        ('[broker]\nusername = "x"\n', "line 1: broker: the embedded broker takes neither"),
        ('[telemetry]\nstore = "influx"\nurl = "http://x"\n', "line 1: telemetry: "),
        ('[telemetry]\nstroe = "influx"\n', "line 2: telemetry.stroe: unknown key"),
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
