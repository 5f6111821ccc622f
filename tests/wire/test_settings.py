from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, SecretStr

from village_wire.settings import InvalidSettings, load_toml


class _Device(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str
    port: int = 1


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    devices: list[_Device] = []
    password: SecretStr = SecretStr("")


def _refusal(path: Path, content: bytes) -> InvalidSettings:
    path.write_bytes(content)
    with pytest.raises(InvalidSettings) as refused:
        load_toml(path, _Settings)
    return refused.value


def test_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[[devices]]\nid = "a"\n[[devices]]\nid = "b"\nport = 7\n')
    assert [device.port for device in load_toml(path, _Settings).devices] == [1, 7]


def test_names_file_line_key_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    error = _refusal(
        path, b'# devices\n[[devices]]\nid = "a"\nport = 1\n\n[[devices]]\nid = "b"\nport = "x"\nprot = 3\n'
    )
    lines = str(error).splitlines()
    assert lines[0].startswith(f"{path}, line 8: devices.1.port: ")
    assert lines[1] == f"{path}, line 9: devices.1.prot: unknown key"


def test_a_missing_key_is_placed_at_its_table(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    assert str(_refusal(path, b"\n[[devices]]\nport = 1\n")) == f"{path}, line 2: devices.0.id: this key is required"


def test_syntax_errors_have_their_line(tmp_path: Path) -> None:
    assert ", line 2: " in str(_refusal(tmp_path / "a.toml", b"a = 1\nb = = 2\n"))


def test_an_endless_integer(tmp_path: Path) -> None:
    assert "digits" in str(_refusal(tmp_path / "a.toml", b"a = " + b"1" * 5000))


def test_a_secret_never_shows(tmp_path: Path) -> None:
    error = _refusal(tmp_path / "a.toml", b'password = ["hunter2"]\n')
    assert "hunter2" not in str(error)
    assert "line 1: password" in str(error)


def test_real_os_errors(tmp_path: Path) -> None:
    for path, reason in [(tmp_path / "absent.toml", "No such file"), (tmp_path, "Is a directory")]:
        with pytest.raises(InvalidSettings, match=reason):
            load_toml(path, _Settings)


@given(content=st.binary(max_size=300) | st.text(alphabet="[]=\"devicspor.\n 1#'", max_size=200).map(str.encode))
def test_any_bytes_give_settings_or_the_own_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    with contextlib.suppress(InvalidSettings):
        load_toml(path, _Settings)
