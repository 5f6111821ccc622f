"""Certificates as others see them: OpenSSL's program, and the verifier of `cryptography` that follows the rules of the web."""

from __future__ import annotations

import ipaddress
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given
from hypothesis import strategies as st

from village_collector.data_dir import DataDirProblem
from village_collector.trust.authority import (
    AGENT_LIFE,
    Authority,
    collector_name,
    key_digest,
    load_authority,
)
from village_collector.trust.key_files import key_pem
from village_collector.trust.signing_requests import InvalidRequest, read_request
from village_wire.enrolment import fingerprint

NOW = datetime.now(UTC)
COLLECTOR = "village_collector-0123456789abcdef"


class Box(NamedTuple):
    """What an agent has: its key and the request that it sends."""

    key: ec.EllipticCurvePrivateKey
    request: str


def box(name: str = "anything") -> Box:
    key = ec.generate_private_key(ec.SECP256R1())
    return Box(key, request_of(key, name))


def request_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, name: str) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)
    return pem(request)


def pem(item: x509.Certificate | x509.CertificateSigningRequest) -> str:
    return item.public_bytes(Encoding.PEM).decode()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return load_authority(tmp_path, make=True)


def openssl_verify(folder: Path, certificate: str, *options: str) -> str:
    """What `openssl verify` says of a certificate; empty if it is good."""
    leaf = folder / "leaf.pem"
    leaf.write_text(certificate)
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", str(folder / "ca.pem"), *options, str(leaf)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_an_agents_certificate_is_good_for_a_client_and_for_no_server(tmp_path: Path, authority: Authority) -> None:
    made = box("gate-2")
    issued = authority.issue_agent(made.request, "gate-1", NOW)
    certificate = x509.load_pem_x509_certificate(issued.pem.encode())
    assert openssl_verify(tmp_path, issued.pem, "-purpose", "sslclient") == ""
    assert "unsuitable certificate purpose" in openssl_verify(tmp_path, issued.pem, "-purpose", "sslserver")
    names = [entry.value for entry in certificate.subject]
    assert names == ["gate-1"], "the subject of the request counts for nothing"
    assert certificate.public_key() == made.key.public_key()
    assert issued.key_digest == key_digest(made.key.public_key())
    assert int(issued.serial, 16) == certificate.serial_number
    assert issued.key_pem is None
    assert issued.not_before <= NOW - timedelta(hours=1)
    assert issued.not_after == certificate.not_valid_after_utc == (NOW + AGENT_LIFE).replace(microsecond=0)


def test_a_server_is_known_by_each_of_its_names_and_by_no_other(tmp_path: Path, authority: Authority) -> None:
    issued = authority.issue_server(["localhost", "collector.example.cn", "10.0.0.5", "::1"], NOW)
    assert issued.key_pem is not None
    leaf = x509.load_pem_x509_certificate(issued.pem.encode())
    key = load_pem_private_key(issued.key_pem.encode(), None)
    assert key.public_key() == leaf.public_key()
    policy = PolicyBuilder().store(Store([authority.certificate])).time(NOW)
    for name in ("localhost", "collector.example.cn"):
        policy.build_server_verifier(x509.DNSName(name)).verify(leaf, [])
    for address in ("10.0.0.5", "::1"):
        policy.build_server_verifier(x509.IPAddress(ipaddress.ip_address(address))).verify(leaf, [])
    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.DNSName("elsewhere.example.cn")).verify(leaf, [])
    assert "unsuitable certificate purpose" in openssl_verify(tmp_path, issued.pem, "-purpose", "sslclient")


def test_a_collector_has_a_name_that_no_agent_can_have(tmp_path: Path, authority: Authority) -> None:
    issued = authority.issue_client(collector_name("collector-0123456789abcdef"), NOW)
    assert issued.subject == COLLECTOR
    assert openssl_verify(tmp_path, issued.pem, "-purpose", "sslclient") == ""
    with pytest.raises(ValueError, match="not an agent id"):
        authority.issue_agent(box().request, COLLECTOR, NOW)
    with pytest.raises(ValueError, match="not the name of a collector"):
        authority.issue_client("gate-1", NOW)


def test_a_passing_certificate_ends_within_minutes_and_is_nobody_elses(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue_passing("gate-1", NOW, 0x1234)
    assert (issued.serial, issued.subject, issued.not_after - NOW < timedelta(minutes=6)) == ("1234", "gate-1", True)
    at = ("-attime", str(int(NOW.timestamp())))
    assert openssl_verify(tmp_path, issued.pem, "-purpose", "sslclient", *at) == ""
    assert authority.issue_passing("village_probe", NOW).serial != authority.issue_passing("village_probe", NOW).serial
    for name in (COLLECTOR, "village_server", "Gate", ""):
        with pytest.raises(ValueError, match="neither an agent id"):
            authority.issue_passing(name, NOW)


def test_another_authority_vouches_for_nobody(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "other").mkdir()
    other = load_authority(tmp_path / "other", make=True)
    assert other.fingerprint != authority.fingerprint
    assert openssl_verify(tmp_path, other.issue_agent(box().request, "gate-1", NOW).pem)


def test_a_revoked_certificate_is_refused_and_the_others_are_not(tmp_path: Path, authority: Authority) -> None:
    lost, kept = (authority.issue_agent(box().request, "gate-1", NOW) for _ in range(2))
    later = NOW + timedelta(days=5 * 365)
    for time in (NOW, later):
        listed = tmp_path / "crl.pem"
        listed.write_bytes(authority.crl([(lost.serial, NOW)], NOW))
        # A list that is five years old counts as on the first day: a broker that found it overdue would refuse everybody.
        seconds = str(int(time.timestamp()))
        options = ("-crl_check", "-CRLfile", str(listed), "-attime", seconds)
        if time is NOW:
            assert openssl_verify(tmp_path, kept.pem, *options) == ""
        assert "CRL has expired" not in openssl_verify(tmp_path, kept.pem, *options)
        assert "certificate revoked" in openssl_verify(tmp_path, lost.pem, *options)


def test_an_empty_list_is_a_list(tmp_path: Path, authority: Authority) -> None:
    listed = tmp_path / "crl.pem"
    listed.write_bytes(authority.crl([], NOW))
    kept = authority.issue_agent(box().request, "gate-1", NOW)
    assert openssl_verify(tmp_path, kept.pem, "-crl_check", "-CRLfile", str(listed)) == ""


def test_a_request_needs_the_signature_of_its_own_key() -> None:
    """The signature of a request is cut out and put into another one: who has only seen a public key gets no certificate for it."""
    own = x509.load_pem_x509_csr(box("a").request.encode())
    other = x509.load_pem_x509_csr(box("b").request.encode())
    der = own.public_bytes(Encoding.DER).replace(own.signature, other.signature)
    if len(own.signature) != len(other.signature):
        der = own.public_bytes(Encoding.DER).replace(own.signature, own.signature[:-1] + bytes([own.signature[-1] ^ 1]))
    forged = x509.load_der_x509_csr(der)
    with pytest.raises(InvalidRequest, match="not signed by its own key"):
        read_request(pem(forged))


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (rsa.generate_private_key(65537, 2048), "must be EC P-256"),
        (ec.generate_private_key(ec.SECP384R1()), "must be EC P-256"),
        (ed25519.Ed25519PrivateKey.generate(), "must be EC P-256"),
    ],
)
def test_other_kinds_of_keys_are_refused(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, why: str
) -> None:
    with pytest.raises(InvalidRequest, match=why):
        read_request(request_of(key, "gate-1"))


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_whatever_is_no_request_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_request(text)


_GOOD = box().request


@given(st.integers(0, len(_GOOD) - 1), st.characters(max_codepoint=255))
def test_a_changed_request_is_refused_or_still_proves_its_key(place: int, letter: str) -> None:
    changed = _GOOD[:place] + letter + _GOOD[place + 1 :]
    try:
        key = read_request(changed)
    except InvalidRequest:
        return
    assert isinstance(key.curve, ec.SECP256R1)
    assert x509.load_pem_x509_csr(changed.encode()).is_signature_valid


@pytest.mark.parametrize("names", [[], ["no name"], ["-a"], ["a/b"], ["*"]])
def test_a_server_needs_names(authority: Authority, names: list[str]) -> None:
    with pytest.raises(ValueError, match="name"):
        authority.issue_server(names, NOW)


def test_the_authority_stays_the_same_and_its_key_is_private(tmp_path: Path) -> None:
    first = load_authority(tmp_path, make=True)
    again = load_authority(tmp_path, make=False)
    assert again.certificate == first.certificate
    assert first.fingerprint == fingerprint(first.certificate.public_bytes(Encoding.DER))
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600
    for place in (repr(first), str(first), repr(first.issue_server(["localhost"], NOW))):
        assert "PRIVATE" not in place


def test_a_certificate_that_was_lost_is_made_anew_for_the_same_key(tmp_path: Path) -> None:
    """As after a stop between the two files; agents that pinned the first one go on, for key and name are the same."""
    first = load_authority(tmp_path, make=True)
    issued = first.issue_agent(box().request, "gate-1", NOW)
    (tmp_path / "ca.pem").unlink()
    second = load_authority(tmp_path, make=True)
    assert second.certificate.subject == first.certificate.subject
    assert openssl_verify(tmp_path, issued.pem) == ""


def test_first_starts_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: load_authority(tmp_path, make=True), range(8)))
    assert len({one.fingerprint for one in made}) == 1


def test_none_is_made_where_it_belongs_to_several(tmp_path: Path) -> None:
    with pytest.raises(DataDirProblem, match=r"no ca\.key and no ca\.pem .* copy .* from the first collector"):
        load_authority(tmp_path, make=False)
    assert not list(tmp_path.iterdir())
    load_authority(tmp_path, make=True)
    (tmp_path / "ca.pem").unlink()
    with pytest.raises(DataDirProblem, match=r"there is no ca\.pem in"):
        load_authority(tmp_path, make=False)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path, authority: Authority) -> None:
    del authority
    (tmp_path / "ca.key").chmod(0o640)
    with pytest.raises(DataDirProblem, match=r"others may read .*ca\.key.*chmod 600"):
        load_authority(tmp_path, make=False)


@pytest.mark.parametrize("name", ["ca.key", "ca.pem"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xfe"])
def test_damaged_files_are_named(tmp_path: Path, authority: Authority, name: str, content: bytes) -> None:
    del authority
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataDirProblem, match=f"{name} is not what it should be"):
        load_authority(tmp_path, make=True)


def test_files_that_do_not_belong_together_are_named(tmp_path: Path, authority: Authority) -> None:
    del authority
    (tmp_path / "ca.key").write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(DataDirProblem, match="is not the certificate of"):
        load_authority(tmp_path, make=True)
    (tmp_path / "ca.key").write_bytes(key_pem(ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(DataDirProblem, match="not an EC P-256 key"):
        load_authority(tmp_path, make=True)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataDirProblem, match="No such file or directory"):
        load_authority(tmp_path / "nowhere", make=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, authority: Authority) -> None:
    del authority
    (tmp_path / "ca.key").chmod(0o000)
    with pytest.raises(DataDirProblem, match=r"ca\.key: Permission denied"):
        load_authority(tmp_path, make=True)


@given(st.text(alphabet="abcdef0123456789_-/ ", max_size=30))
def test_a_collector_is_named_by_its_id_or_not_at_all(text: str) -> None:
    try:
        name = collector_name(f"collector-{text}")
    except ValueError:
        return
    assert name == f"village_collector-{text}"
    assert len(text) == 16
