from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from village_cli.failures import Failure
from village_cli.pinning import (
    InvalidAuthority,
    context,
    fingerprint,
    only_certificate,
    parse_fingerprint,
    read_authority,
    shown,
    unverified_context,
)
from village_collector.trust.authority import Authority


def test_the_fingerprint_is_that_of_the_whole_certificate(authority: Authority) -> None:
    der = authority.certificate.public_bytes(Encoding.DER)
    assert fingerprint(authority.certificate_pem) == hashlib.sha256(der).hexdigest()
    assert shown(fingerprint(authority.certificate_pem)) == authority.shown
    # The token of an enrolment holds the beginning of the same.
    assert bytes.fromhex(fingerprint(authority.certificate_pem))[:16] == authority.fingerprint


@given(st.binary(min_size=32, max_size=32))
def test_a_fingerprint_is_read_in_every_form_in_which_it_is_shown(digest: bytes) -> None:
    digits = digest.hex()
    for form in (digits, digits.upper(), shown(digits), f"SHA256:{shown(digits)}", f"sha256 {shown(digits)}"):
        assert parse_fingerprint(form) == digits


@given(st.text(max_size=100))
def test_every_other_text_is_refused(text: str) -> None:
    try:
        digits = parse_fingerprint(text)
    except Failure:
        return
    assert len(bytes.fromhex(digits)) == 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n====\n-----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
)
def test_what_is_no_certificate(text: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(text)
    with pytest.raises(InvalidAuthority):
        read_authority(file)
    with pytest.raises(InvalidAuthority):
        only_certificate(text, "x")


def test_a_file_with_words_around_the_certificates(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(f"# Ours\n{authority.certificate_pem}and a key, which is not kept\n{authority.certificate_pem}")
    assert read_authority(file) == 2 * authority.certificate_pem
    file.write_bytes(b"\xff")
    with pytest.raises(InvalidAuthority):
        read_authority(file)


def test_names_and_authority_are_checked_everywhere_but_for_the_first_look(authority: Authority) -> None:
    for made in (context(authority.certificate_pem), context("")):
        assert made.check_hostname
        assert made.verify_mode is ssl.CERT_REQUIRED
        assert made.minimum_version >= ssl.TLSVersion.TLSv1_2
    # A pinned authority stands alone: the system's store does not count beside it.
    assert len(context(authority.certificate_pem).get_ca_certs()) == 1
    assert unverified_context().verify_mode is ssl.CERT_NONE
