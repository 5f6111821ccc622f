"""A certificate of the own authority and its key, kept as two files: whether they will do, and how they are written."""

from __future__ import annotations

import ipaddress
import ssl
import stat
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from village_collector.data_dir import DataDirProblem, write_atomically
from village_collector.trust.authority import Authority, Issued

#: Of a certificate's life; what remains is time to notice that it was not renewed.
RENEWED_AFTER = 2 / 3
#: A chain of four certificates of 2 kB each, and room.
MAX_CERTIFICATE_BYTES = 64 * 1024


class Shown(NamedTuple):
    """What is known of a certificate. `subject` is as in RFC 4514."""

    subject: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime

    @property
    def due(self) -> datetime:
        """When an own one is renewed."""
        return self.not_before + (self.not_after - self.not_before) * RENEWED_AFTER

    def counts(self, now: datetime) -> bool:
        """Whether an own one is valid and not yet due."""
        return self.not_before <= now < self.due


class Pair(NamedTuple):
    """Where certificate and key lie."""

    certificate: Path
    key: Path


def read_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a chain in PEM, which is the server's own; raises `OSError` and `ValueError`."""
    with path.open("rb") as file:
        return x509.load_pem_x509_certificates(file.read(MAX_CERTIFICATE_BYTES))[0]


def shown(certificate: x509.Certificate) -> Shown:
    """Return what is known of a certificate."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names: list[str] = []
    else:
        names = [
            *found.get_values_for_type(x509.DNSName),
            *map(str, found.get_values_for_type(x509.IPAddress)),
        ]
    return Shown(
        certificate.subject.rfc4514_string(),
        tuple(plain_name(name) for name in names),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def plain_name(name: str) -> str:
    """Return a name in lower case, or an address in its usual form."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def find_own(files: Pair, authority: Authority, key_mode: int = 0o600) -> Shown | None:
    """Return what the certificate says; None if there is none of this authority with its key, or the key has other rights."""
    try:
        if stat.S_IMODE(files.key.stat().st_mode) != key_mode:
            return None
        certificate = read_certificate(files.certificate)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(*files, no_passphrase)
        certificate.verify_directly_issued_by(authority.certificate)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return None
    return shown(certificate)


def write_own(files: Pair, issued: Issued) -> None:
    """Replace certificate and key; raises `DataDirProblem`."""
    try:
        # A kill between the two leaves a pair that does not match, which is issued anew.
        write_atomically(files.key, (issued.key_pem or "").encode(), 0o600)
        write_atomically(files.certificate, issued.pem.encode(), 0o644)
    except OSError as error:
        raise DataDirProblem(f"{error.filename or files.certificate}: {error.strerror}") from None


def no_passphrase() -> str:
    """Refuse to ask for the passphrase of a key, as OpenSSL would on the terminal; raises `ValueError`."""
    raise ValueError("the key has a passphrase, which nobody can type when the collector starts: store it without one")
