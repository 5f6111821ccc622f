"""Certificates that no authority of ours would issue, and a server that shows them and notes what it is told."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Signer:
    """A key with its certificate."""

    key: EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, folder: Path, name: str) -> Path:
        """Write key and certificate to one file."""
        file = folder / f"{name}.pem"
        file.write_bytes(self.key_pem + self.pem)
        file.chmod(0o600)
        return file


def make(
    name: str,
    signer: Signer | None = None,
    *,
    authority: bool = False,
    names: Sequence[str] = ("localhost",),
    starts: timedelta = -HOUR,
    ends: timedelta = DAY,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
) -> Signer:
    """Make a certificate, self-signed unless there is a signer. `starts` and `ends` count from the present."""
    key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    alternatives = [_general(one) for one in names]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return Signer(key, builder.sign(signer.key if signer else key, SHA256()))


def _general(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


@dataclass
class Listener:
    """A TLS server. `told` is everything that clients sent inside of TLS; `answers` by the beginning of what comes."""

    port: int
    told: bytearray = field(default_factory=bytearray)
    answers: dict[bytes, bytes] = field(default_factory=dict)


@contextmanager
def listening(context: ssl.SSLContext) -> Iterator[Listener]:
    """Run a server on the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = Listener(server.getsockname()[1])

        def serve() -> None:
            with suppress(OSError):
                while True:
                    raw, _ = server.accept()
                    raw.settimeout(5)
                    with raw, suppress(OSError), context.wrap_socket(raw, server_side=True) as link:
                        content = link.recv(65536)
                        listener.told += content
                        for beginning, answer in listener.answers.items():
                            if content.startswith(beginning):
                                link.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join(6)


def server_context(file: Path) -> ssl.SSLContext:
    """TLS as a server should have it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
