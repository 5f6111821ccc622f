"""The collector's own certificate authority: who is an agent, who a collector, and which API is the right one.

Its key signs certificates, the list of revoked ones, and the document of command keys (`village_wire.command_keys`).
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from village_collector.data_dir import DataDirProblem
from village_collector.trust.key_files import PRIVATE, PUBLIC, key_pem, make_once, read_private
from village_collector.trust.signing_requests import read_request
from village_wire.enrolment import fingerprint
from village_wire.ids import AGENT_PATTERN
from village_wire.topics import COLLECTORS

KEY_FILE, CERTIFICATE_FILE = "ca.key", "ca.pem"
#: The boxes outlive it; what it signed ends with it.
AUTHORITY_LIFE = timedelta(days=20 * 365)
#: A box that is switched off for half a year finds its certificate good.
AGENT_LIFE = timedelta(days=365)
#: The collector renews its own by itself.
OWN_LIFE = timedelta(days=90)
#: A certificate with which the collector appears at a broker in another's name, to end that one's connection.
PASSING_LIFE = timedelta(minutes=5)
#: The clock of whoever checks may be late by so much.
BACKDATED = timedelta(hours=1)
#: No agent id holds an underscore, so nobody can be enrolled under the name of a collector or a server.
COLLECTOR_PREFIX = "village_collector-"
#: Whoever asks a broker something, and may do nothing there.
PROBE_NAME = "village_probe"
_SERVER_NAME = "village_server"
_GROUP = b"village-edge group of collectors 1\n"
_COLLECTOR_NAME = re.compile(COLLECTOR_PREFIX + r"[0-9a-f]{16}", re.ASCII)
_AGENT = re.compile(AGENT_PATTERN)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate. `serial` and `key_digest` (SHA-256 of the SubjectPublicKeyInfo) are hexadecimal.

    `key_pem` is the private key where the authority made it, None where the other side keeps it.
    """

    subject: str
    pem: str
    key_pem: str | None = field(repr=False)
    serial: str
    key_digest: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs with the key of `certificate`. No method touches the disk; each takes less than a millisecond."""

    key: EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate

    @property
    def certificate_pem(self) -> str:
        """The certificate that everybody trusts."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def fingerprint(self) -> bytes:
        """What enrolment tokens hold of the certificate (16 bytes)."""
        return fingerprint(self.certificate.public_bytes(Encoding.DER))

    @property
    def share_group(self) -> str:
        """The name of the group in which collectors share the load at a broker, which nobody can guess.

        mosquitto 2.0.11 lets anybody join a group, gives it a share of the messages, and drops those that it may not read.
        """
        secret = hashlib.sha256(_GROUP + self.key.private_numbers().private_value.to_bytes(32, "big"))
        return f"{COLLECTORS}-{secret.hexdigest()[:32]}"

    @property
    def shown(self) -> str:
        """The SHA-256 of the certificate as people compare it: `AB:CD:…`."""
        return self.certificate.fingerprint(SHA256()).hex(":").upper()

    def issue_agent(self, request_pem: str, agent: str, now: datetime) -> Issued:
        """Return a client certificate for the key of a signing request; the request's subject and extensions count for nothing.

        Raises:
            InvalidRequest: not a request of a P-256 key, or not signed by that key.
            ValueError: `agent` is no agent id.
        """
        if not _AGENT.fullmatch(agent):
            raise ValueError(f"not an agent id: {agent[:80]!r}")
        key = read_request(request_pem)
        return self._issue(agent, key, None, now, AGENT_LIFE, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def issue_client(self, name: str, now: datetime) -> Issued:
        """Return a collector's client certificate with its key; `name` as `collector_name` makes it, else `ValueError`."""
        if not _COLLECTOR_NAME.fullmatch(name):
            raise ValueError(f"not the name of a collector: {name[:80]!r}")
        key = generate_private_key(SECP256R1())
        return self._issue(name, key.public_key(), key, now, OWN_LIFE, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def issue_passing(self, name: str, now: datetime, serial: int | None = None) -> Issued:
        """Return a client certificate with its key, good for minutes, for `PROBE_NAME` or an agent's id; else `ValueError`.

        `serial` is the serial number, by default a random one.
        """
        if name != PROBE_NAME and not _AGENT.fullmatch(name):
            raise ValueError(f"neither an agent id nor {PROBE_NAME}: {name[:80]!r}")
        key = generate_private_key(SECP256R1())
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        return self._issue(name, key.public_key(), key, now, PASSING_LIFE, usage, None, serial)

    def issue_server(self, names: Sequence[str], now: datetime) -> Issued:
        """Return a server certificate with its key for DNS names and IP addresses; raises `ValueError` for other texts or none."""
        if not names:
            raise ValueError("a server certificate needs at least one name")
        key = generate_private_key(SECP256R1())
        places = x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)])
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return self._issue(_SERVER_NAME, key.public_key(), key, now, OWN_LIFE, usage, places)

    def crl(self, revoked: Iterable[tuple[str, datetime]], now: datetime) -> bytes:
        """Return the list of revoked certificates (PEM), by serial number in hexadecimal and time.

        Its next update is due when the authority ends: a broker refuses everybody once a list is overdue, and it gets a new one with
        every change.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(_whole(now - BACKDATED))
            .next_update(self.certificate.not_valid_after_utc)
            .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for serial, time in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(_whole(time))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM)

    def _issue(
        self,
        subject: str,
        public: EllipticCurvePublicKey,
        private: EllipticCurvePrivateKey | None,
        now: datetime,
        life: timedelta,
        usage: x509.ObjectIdentifier,
        places: x509.SubjectAlternativeName | None,
        serial: int | None = None,
    ) -> Issued:
        start = _whole(now - BACKDATED)
        end = min(_whole(now + life), self.certificate.not_valid_after_utc)
        if end <= now:
            raise ValueError(f"the authority's certificate ended on {end:%Y-%m-%d}")
        serial = x509.random_serial_number() if serial is None else serial
        builder = _with_identifiers(
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(serial)
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False),
            public,
            self.key.public_key(),
        )
        if places is not None:
            builder = builder.add_extension(places, critical=False)
        pem = builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM).decode()
        secret = None if private is None else key_pem(private).decode()
        return Issued(subject, pem, secret, f"{serial:x}", key_digest(public), start, end)


def load_authority(keys_folder: Path, *, make: bool) -> Authority:
    """Return the authority whose key and certificate are in a folder; with `make` they are made where they are not there yet.

    Raises:
        DataDirProblem: a file is missing, can't be read or written, is not what it should be, or others may read the key.
    """
    key_path, certificate_path = keys_folder / KEY_FILE, keys_folder / CERTIFICATE_FILE
    absent = [path.name for path in (key_path, certificate_path) if not path.exists()]
    if absent and not make:
        raise DataDirProblem(
            f"there is no {' and no '.join(absent)} in {keys_folder}; copy {KEY_FILE} and {CERTIFICATE_FILE} from the first collector there"
        )
    path = key_path
    try:
        make_once(key_path, lambda: key_pem(generate_private_key(SECP256R1())), PRIVATE)
        danger = "with which anybody can pass for any agent and name new command keys: chmod 600 it, and make a new authority if they did"
        key = load_pem_private_key(read_private(key_path, danger), None)
        if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
            raise DataDirProblem(f"{key_path} is not an EC P-256 key; restore it from a backup")
        path = certificate_path
        make_once(certificate_path, lambda: own_certificate(key, datetime.now(UTC)), PUBLIC)
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        if certificate.public_key() != key.public_key():
            raise DataDirProblem(f"{certificate_path} is not the certificate of {key_path}; restore both from a backup")
    except OSError as error:
        raise DataDirProblem(f"{error.filename or path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise DataDirProblem(f"{path} is not what it should be; restore it from a backup") from None
    return Authority(key, certificate)


def collector_name(collector_id: str) -> str:
    """Return the name in the certificate of the collector with this id (`load_collector_id`); raises `ValueError`."""
    name = COLLECTOR_PREFIX + collector_id.removeprefix("collector-")
    if not _COLLECTOR_NAME.fullmatch(name):
        raise ValueError(f"not a collector id: {collector_id[:80]!r}")
    return name


def key_digest(key: EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a key's SubjectPublicKeyInfo in hexadecimal."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def own_certificate(key: EllipticCurvePrivateKey, now: datetime) -> bytes:
    """Return the certificate (PEM) of an authority with this key, which it signs itself."""
    public = key.public_key()
    # Several systems may meet on one machine; a name of its own tells their authorities apart.
    name = _name(f"Village Edge authority {key_digest(public)[:8]}")
    builder = _with_identifiers(
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_whole(now - BACKDATED))
        .not_valid_after(_whole(now + AUTHORITY_LIFE))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign=True), critical=True),
        public,
        public,
    )
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def _with_identifiers(
    builder: x509.CertificateBuilder, subject: EllipticCurvePublicKey, issuer: EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    own = x509.SubjectKeyIdentifier.from_public_key(subject)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)
    return builder.add_extension(own, critical=False).add_extension(above, critical=False)


def _key_usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", name, re.ASCII):
            raise ValueError(f"neither a DNS name nor an address: {name[:80]!r}") from None
        return x509.DNSName(name)


def _whole(time: datetime) -> datetime:
    # Certificates hold whole seconds.
    return time.astimezone(UTC).replace(microsecond=0)
