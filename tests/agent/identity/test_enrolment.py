"""Enrolment and renewal against a server that speaks the contract, and against ones that don't."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_csr

from tests.agent.identity.api import LONG_AGO, SECRET, Api, api, authority
from tests.agent.kit import AREA
from village_agent.https import NotReached
from village_agent.identity import enrolment
from village_agent.identity.certificates import load_key, make_key, pem, signing_request
from village_agent.identity.enrolment import Impostor, InvalidUrl, Refused, check_url, enrol, renew
from village_agent.identity.folder import read_identity, read_key, write_key
from village_wire.enrolment import Credentials, EnrolmentToken, InvalidEnrolment


@pytest.fixture(autouse=True)
def _knows_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolment, "synchronised_ns", lambda: 1)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


def test_a_box_becomes_an_agent(tmp_path: Path, state: Path) -> None:
    with api(tmp_path) as it:
        made = enrol(f"{it.url}/", it.token, state)
    found = read_identity(state)
    assert found is not None
    assert (found.agent, found.record.area, found.record.broker) == ("box", AREA, "mqtts://127.0.0.1:1")
    assert found.record == made.record
    assert found.record.api == it.url
    assert found.ca_file.read_text() == it.authority.certificate_pem
    assert timedelta(days=364) < found.expires - datetime.now(UTC) < timedelta(days=366)
    assert read_key(state) is None
    assert list(state.glob("*.key")) == []


def test_the_same_key_asks_again_after_a_lost_answer(tmp_path: Path, state: Path) -> None:
    with api(tmp_path) as it:
        it.lose = 1
        with pytest.raises(NotReached):
            enrol(it.url, it.token, state)
        assert read_identity(state) is None
        kept = read_key(state)
        found = enrol(it.url, it.token, state)
    assert found.key_file.read_bytes() == kept
    asked = [load_key(kept or b"").public_key() for _ in it.enrolments]
    assert [load_pem_x509_csr(one.request.encode()).public_key() for one in it.enrolments] == asked
    assert len(asked) == 2


def test_a_pending_key_that_is_damaged_is_made_anew(tmp_path: Path, state: Path) -> None:
    write_key(state, b"nothing")
    with api(tmp_path) as it:
        assert enrol(it.url, it.token, state).agent == "box"


def test_nothing_is_sent_to_another_authority(tmp_path: Path, state: Path) -> None:
    with api(tmp_path) as it:
        with pytest.raises(Impostor, match="Nothing was sent"):
            enrol(it.url, EnrolmentToken(SECRET, authority(tmp_path / "other").fingerprint), state)
        assert it.enrolments == []


def test_whoever_shows_the_right_authority_must_also_have_a_certificate_of_it(tmp_path: Path, state: Path) -> None:
    # Everybody can copy ca.pem.
    right = authority(tmp_path / "right")
    with api(tmp_path) as it:
        it.reply["/api/v1/authority"] = (200, {}, right.certificate_pem.encode())
        with pytest.raises(NotReached, match="is refused"):
            enrol(it.url, EnrolmentToken(SECRET, right.fingerprint), state)
        assert it.enrolments == []


def test_a_certificate_for_another_name_is_refused(tmp_path: Path, state: Path) -> None:
    with api(tmp_path, "collector.example.cn") as it, pytest.raises(NotReached, match="IP address mismatch"):
        enrol(it.url, it.token, state)


def test_the_period_of_a_certificate_counts_only_where_the_time_is_known(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api(tmp_path, issued=datetime.now(UTC) - LONG_AGO) as it:
        with pytest.raises(NotReached, match="expired"):
            enrol(it.url, it.token, state)
        monkeypatch.setattr(enrolment, "synchronised_ns", lambda: None)
        assert enrol(it.url, it.token, state).agent == "box"


def test_a_redirection_is_not_followed(tmp_path: Path, state: Path) -> None:
    with api(tmp_path) as it:
        it.reply["/api/v1/enrolments"] = (307, {"Location": "https://127.0.0.1:1/"}, b"")
        with pytest.raises(Refused, match="307 with another address, which is not followed"):
            enrol(it.url, it.token, state)


def test_a_refusal_carries_reason_and_advice(tmp_path: Path, state: Path) -> None:
    problem = '{"detail": "the token was used", "advice": {"en": "Ask for a new token.", "zh": "请重新申请。"}}'
    with api(tmp_path) as it:
        it.reply["/api/v1/enrolments"] = (403, {}, problem.encode())
        with pytest.raises(Refused, match="the token was used") as caught:
            enrol(it.url, it.token, state)
    assert caught.value.advice == {"en": "Ask for a new token.", "zh": "请重新申请。"}
    assert read_identity(state) is None


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_collector_in_trouble_may_be_asked_again(tmp_path: Path, state: Path, status: int) -> None:
    with api(tmp_path) as it:
        it.reply["/api/v1/enrolments"] = (status, {}, b'{"detail": "try later"}')
        with pytest.raises(NotReached, match="try later"):
            enrol(it.url, it.token, state)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"detail": 5, "advice": []}', b"[" * 100_00])
def test_a_refusal_that_is_no_problem_document_is_told_as_it_is(tmp_path: Path, state: Path, body: bytes) -> None:
    with api(tmp_path) as it:
        it.reply["/api/v1/enrolments"] = (404, {}, body)
        with pytest.raises(Refused) as caught:
            enrol(it.url, it.token, state)
    assert caught.value.advice == {}


@pytest.mark.parametrize("path", ["/api/v1/authority", "/api/v1/enrolments"])
def test_an_endless_answer_is_cut_off(tmp_path: Path, state: Path, path: str) -> None:
    with api(tmp_path) as it:
        it.reply[path] = (201 if "enrol" in path else 200, {}, b"x" * 1_000_000)
        with pytest.raises(NotReached, match="longer than 32768 bytes"):
            enrol(it.url, it.token, state)


@pytest.mark.parametrize("body", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_another_kind_of_server_is_told_from_a_collector(tmp_path: Path, state: Path, body: bytes) -> None:
    with api(tmp_path) as it:
        it.reply["/api/v1/authority"] = (200, {}, body)
        with pytest.raises((InvalidEnrolment, Impostor)):
            enrol(it.url, it.token, state)


def _other_key(it: Api, credentials: Credentials) -> Credentials:
    issued = it.authority.issue_agent(pem(signing_request(load_key(make_key()))), "box", datetime.now(UTC))
    return credentials.model_copy(update={"certificate": issued.pem})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_other_key, "not for this box's key"),
        (lambda it, c: c.model_copy(update={"agent": "other"}), "the certificate is for 'box'"),
        (lambda it, c: c.model_copy(update={"certificate": c.authority}), "not for this box's key"),
        (lambda it, c: c.model_copy(update={"certificate": "nothing"}), "not a certificate"),
        (lambda it, c: c.model_copy(update={"authority": c.authority + c.certificate}), "other authorities"),
        (lambda it, c: c.model_copy(update={"broker": "http://127.0.0.1"}), "mqtt://"),
        (lambda it, c: c.model_copy(update={"api": "http://collector.example.cn"}), "this machine only"),
        (lambda it, c: c.model_copy(update={"command_keys": {"number": 1, "keys": []}}), "not signed by"),
        (lambda it, c: c.model_copy(update={"command_keys": {**c.command_keys, "number": 2}}), "not signed by"),
    ],
)
def test_an_answer_that_is_not_in_order_changes_nothing(
    tmp_path: Path, state: Path, change: Callable[[Api, Credentials], Credentials], reason: str
) -> None:
    with api(tmp_path) as it:
        it.change = lambda credentials: change(it, credentials)
        with pytest.raises(InvalidEnrolment, match=reason):
            enrol(it.url, it.token, state)
    assert read_identity(state) is None


def test_a_certificate_of_another_authority_is_refused(tmp_path: Path, state: Path) -> None:
    other = authority(tmp_path / "other")
    with api(tmp_path) as it:

        def change(credentials: Credentials) -> Credentials:
            issued = other.issue_agent(it.enrolments[-1].request, "box", datetime.now(UTC))
            return credentials.model_copy(update={"certificate": issued.pem})

        it.change = change
        with pytest.raises(InvalidEnrolment, match="not issued by the authority"):
            enrol(it.url, it.token, state)


def test_plain_http_is_for_this_machine_only(tmp_path: Path, state: Path) -> None:
    with api(tmp_path, secure=False) as it:
        assert enrol(it.url, it.token, state).agent == "box"
    for url in ("http://10.0.0.5:8480", "http://collector.example.cn"):
        with pytest.raises(InvalidUrl, match="https://"):
            check_url(url)


@pytest.mark.parametrize(
    "url",
    ["", "collector", "ftp://h", "https://", "https://u:p@h", "https://h?x", "https://h#x", "https://h:99999"],
)
def test_what_is_no_address_of_a_collector_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrl):
        check_url(url)


def test_a_disk_that_refuses_leaves_everything_as_it_was(tmp_path: Path, state: Path) -> None:
    (state / ".enrolment.key").mkdir()
    with api(tmp_path) as it:
        with pytest.raises(IsADirectoryError):
            enrol(it.url, it.token, state)
        assert it.enrolments == []


def test_a_renewal_is_for_a_new_key_and_signed_with_the_present_one(tmp_path: Path, state: Path) -> None:
    with api(tmp_path) as it:
        present = enrol(it.url, it.token, state)
        issued = renew(present, state)
        # Nothing but the new key is written, and the same key asks again.
        assert (read_identity(state) or present).record == present.record
        assert issued.files["agent.key"] == read_key(state) != present.key_file.read_bytes()
        assert renew(present, state).files["agent.key"] == issued.files["agent.key"]
    first = it.renewals[0]
    assert first.certificate == present.certificate_file.read_text()
    request = load_pem_x509_csr(first.request.encode())
    signed = b"village-edge renewal 1\n" + request.public_bytes(Encoding.DER)
    key = load_key(present.key_file.read_bytes()).public_key()
    key.verify(base64.b64decode(first.signature), signed, ECDSA(SHA256()))


def test_the_present_key_is_never_renewed_with_itself(tmp_path: Path, state: Path) -> None:
    with api(tmp_path) as it:
        present = enrol(it.url, it.token, state)
        # As a kill between the swap and the removal leaves it.
        write_key(state, present.key_file.read_bytes())
        assert renew(present, state).files["agent.key"] != present.key_file.read_bytes()


def test_a_renewal_for_another_agent_is_refused(tmp_path: Path, state: Path) -> None:
    with api(tmp_path) as it:
        present = enrol(it.url, it.token, state)
        it.agent = "other"
        with pytest.raises(InvalidEnrolment, match="is for other, not for box"):
            renew(present, state)
