"""What `village-collector check` says of the API's certificate and of files with secrets."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from village_collector.api_certificate import ApiCertificate
from village_collector.check_files import api_certificate, exposed_secrets
from village_collector.config import load_settings
from village_collector.trust.authority import load_authority
from village_wire.address import BrokerAddress, SessionError
from village_wire.settings import InvalidSettings
from village_wire.tls import tls_context

NOW = datetime.now(UTC)


def test_the_certificate_and_its_end(tmp_path: Path) -> None:
    config = tmp_path / "collector.toml"
    config.write_text('[collector]\ndata_dir = "."\n')
    settings = load_settings(config)
    assert api_certificate(settings) == ("ok", "the collector issues its certificate when it starts")
    authority = load_authority(tmp_path, make=True)
    ApiCertificate(settings, authority).load()
    status, text = api_certificate(settings)
    assert (status, f"until {NOW + timedelta(90):%Y-%m-%d}, for localhost" in text) == ("ok", True), text
    assert api_certificate(settings, NOW + timedelta(91))[0] == "degraded"
    (tmp_path / "api.pem").write_text("nonsense")
    assert api_certificate(settings)[0] == "degraded"
    config.write_text("[api]\ntls = false\n")
    assert "plain HTTP" in api_certificate(load_settings(config))[1]
    issued = authority.issue_server(["a.example.cn"], NOW)
    (tmp_path / "g.pem").write_text(issued.pem)
    (tmp_path / "g.key").touch(mode=0o600)
    (tmp_path / "g.key").write_text(issued.key_pem or "")
    config.write_text('[api]\ncertificate_file = "g.pem"\nkey_file = "g.key"\n')
    settings = load_settings(config)
    assert api_certificate(settings)[0] == "ok"
    status, text = api_certificate(settings, NOW + timedelta(80))
    assert (status, text.endswith("for a.example.cn: renew it")) == ("degraded", True)
    with pytest.raises(InvalidSettings, match="it ended"):
        api_certificate(settings, NOW + timedelta(91))


def test_secrets_that_others_may_open_are_named(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    config = tmp_path / "collector.toml"
    place = f"password_file = {json.dumps(str(secret))}"
    config.write_text(f'[broker]\nurl = "mqtt://127.0.0.1:1"\nusername = "x"\n{place}\n')
    settings = load_settings(config)
    for mode, exposed in ((0o600, False), (0o640, False), (0o644, True), (0o602, True)):
        secret.chmod(mode)
        assert exposed_secrets(settings) == ([f"others may open {secret}: chmod o= it"] if exposed else [])
    if os.getuid() == 0:
        secret.chmod(0o600)
        os.chown(secret, 12345, 12345)
        assert "belongs to another user" in exposed_secrets(settings)[0]
    secret.unlink()
    assert exposed_secrets(settings) == []


def test_a_private_key_that_others_may_open_is_not_used(tmp_path: Path) -> None:
    issued = load_authority(tmp_path, make=True).issue_client(f"village_collector-{'a' * 16}", NOW)
    (tmp_path / "c.pem").write_text(issued.pem)
    (tmp_path / "c.key").write_text(issued.key_pem or "")
    address = BrokerAddress(
        "mqtts://127.0.0.1",
        ca_file=tmp_path / "ca.pem",
        certificate_file=tmp_path / "c.pem",
        key_file=tmp_path / "c.key",
    )
    (tmp_path / "c.key").chmod(0o644)
    with pytest.raises(SessionError, match=r"c\.key and pass for this machine: chmod o= it"):
        tls_context(address)
    (tmp_path / "c.key").chmod(0o640)
    tls_context(address)
