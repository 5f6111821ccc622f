"""Whom a login trusts: authorities that are pinned, given, changed, or nobody's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from tests.cli.canned import DEVICES
from tests.cli.collector import Collector, serve
from tests.cli.desk import NAMES, Desk
from village_cli.pinning import fingerprint, shown
from village_collector.trust.authority import Authority, load_authority


def test_another_fingerprint(secure: Collector, desk: Desk, digits: str) -> None:
    run = desk.login(secure.url, "--fingerprint", "00" * 32)
    assert run.returncode == 1
    assert run.stderr.startswith(
        f"village: The authority at {secure.url} has another fingerprint: SHA256:{shown(digits)}."
    )
    assert secure.asked() == ["GET /authority"]
    assert not desk.file.exists()
    for nonsense in ("00" * 31, "zz" * 32, ""):
        assert desk.login(secure.url, "--fingerprint", nonsense).returncode == 2


def test_a_server_that_shows_an_authority_which_does_not_sign_for_it(
    secure: Collector, desk: Desk, tmp_path: Path
) -> None:
    # The fingerprint is right, but whoever answers only repeats a certificate that everybody may have.
    other = load_authority(tmp_path, make=True)
    secure.lets_in(other.certificate_pem)
    run = desk.login(secure.url, "--fingerprint", fingerprint(other.certificate_pem))
    assert run.returncode == 3
    assert "somebody may stand between you and the collector" in run.stderr
    assert "POST /login" not in secure.asked()
    run = desk.login(secure.url)
    assert run.returncode == 3
    assert "POST /login" not in secure.asked()


def test_only_the_certificate_whose_fingerprint_was_shown_is_kept(
    secure: Collector, desk: Desk, authority: Authority, digits: str, tmp_path: Path
) -> None:
    other = load_authority(tmp_path, make=True)
    secure.lets_in(f"{authority.certificate_pem}{other.certificate_pem}")
    assert desk.login(secure.url, "--fingerprint", digits).returncode == 0
    assert desk.kept()["collectors"][secure.url]["authority"] == authority.certificate_pem


def test_the_authority_from_a_file(secure: Collector, desk: Desk, authority: Authority, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(authority.certificate_pem)
    assert desk.login(secure.url, "--ca", str(ca)).returncode == 0
    assert secure.asked() == ["POST /login"]
    desk.run("logout", "--forget")
    words = ("login", "li", "--url", secure.url, "--password-file", str(desk.password))
    assert desk.run(*words, VILLAGE_CA=str(ca)).returncode == 0
    ca.write_text("nonsense")
    run = desk.login(secure.url, "--ca", str(ca))
    assert run.returncode == 2
    assert "holds no certificate" in run.stderr
    assert desk.login(secure.url, "--ca", str(tmp_path / "absent.pem")).returncode == 2


def test_an_authority_of_the_systems_store_needs_no_question(
    secure: Collector, desk: Desk, authority: Authority, tmp_path: Path
) -> None:
    ca = tmp_path / "store.pem"
    ca.write_text(authority.certificate_pem)
    words = ("login", "li", "--url", secure.url, "--password-file", str(desk.password))
    run = desk.run(*words, SSL_CERT_FILE=str(ca))
    assert (run.returncode, run.stderr) == (0, "")
    assert desk.kept()["collectors"][secure.url]["authority"] == ""


def test_a_changed_authority(authority: Authority, desk: Desk, digits: str, tmp_path: Path) -> None:
    with serve(authority.issue_server(NAMES, datetime.now(UTC))) as first:
        first.lets_in(authority.certificate_pem)
        assert desk.login(first.url, "--fingerprint", digits).returncode == 0
    other = load_authority(tmp_path, make=True)
    with serve(other.issue_server(NAMES, datetime.now(UTC)), urlsplit(first.url).port or 0) as second:
        second.lets_in(other.certificate_pem)
        second.answers("GET", "/devices", DEVICES)
        for words in (("devices",), ("login", "li", "--password-file", str(desk.password))):
            run = desk.run(*words)
            assert run.returncode == 3
            assert "is not signed by the authority that you accepted" in run.stderr
            assert "village login --fingerprint" in run.stderr
        assert second.requests == []
        # Nor does anybody on a terminal get a question that habit would answer with yes.
        with desk.terminal("login", "li") as terminal:
            assert terminal.end() == 3
        assert second.requests == []
        assert desk.login(second.url, "--fingerprint", fingerprint(other.certificate_pem)).returncode == 0
        assert [request.token for request in second.requests] == ["", ""]
        assert desk.run("devices").returncode == 0


def test_a_certificate_for_another_name(authority: Authority, desk: Desk, digits: str) -> None:
    with serve(authority.issue_server(["collector.example.cn"], datetime.now(UTC))) as elsewhere:
        elsewhere.lets_in(authority.certificate_pem)
        run = desk.login(elsewhere.url, "--fingerprint", digits)
    assert run.returncode == 3
    assert "is not for this name" in run.stderr
    assert "[api] names" in run.stderr
    assert "POST /login" not in elsewhere.asked()


def test_a_certificate_that_has_ended(authority: Authority, desk: Desk, digits: str) -> None:
    with serve(authority.issue_server(NAMES, datetime.now(UTC) - timedelta(days=100))) as late:
        late.lets_in(authority.certificate_pem)
        run = desk.login(late.url, "--fingerprint", digits)
    assert run.returncode == 3
    assert "does not hold at this time" in run.stderr
    assert "clock" in run.stderr
    assert "POST /login" not in late.asked()


def test_an_unknown_authority_leads_to_login(secure: Collector, desk: Desk) -> None:
    run = desk.run("--url", secure.url, "devices")
    assert run.returncode == 3
    assert f"village login --url {secure.url}" in run.stderr
    assert secure.requests == []


def test_https_to_a_server_that_speaks_http_and_the_other_way_round(
    collector: Collector, secure: Collector, desk: Desk
) -> None:
    run = desk.login(collector.url.replace("http:", "https:"))
    assert run.returncode == 3
    assert "no TLS connection" in run.stderr
    run = desk.login(secure.url.replace("https:", "http:"))
    assert run.returncode == 3
    assert "perhaps it speaks https" in run.stderr
