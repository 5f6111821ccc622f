"""Keys, signing requests and what stands in certificates. Costs 25 ms and 1.3 MB to import, so the running agent does not."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from village_wire.enrolment import RENEWAL_DOMAIN


class BadCertificate(ValueError):
    """A key or a certificate is not what it must be; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says. `authority_key` is a point on P-256, uncompressed, base64."""

    agent: str
    issued: datetime
    expires: datetime
    authority_key: str


def make_key() -> bytes:
    """Return a new EC P-256 key, PEM."""
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(pem: bytes) -> EllipticCurvePrivateKey:
    """Read a key; raises `BadCertificate`."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        raise BadCertificate("not a private key in PEM") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise BadCertificate("not a key on P-256")
    return key


def signing_request(key: EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    """Return a request for a certificate; the collector alone decides for whom."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent")])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())


def pem(request: x509.CertificateSigningRequest) -> str:
    """Return a request as PEM."""
    return request.public_bytes(Encoding.PEM).decode()


def sign_renewal(request: x509.CertificateSigningRequest, present: EllipticCurvePrivateKey) -> str:
    """Return the proof (base64) that whoever holds the present key makes this request."""
    signed = RENEWAL_DOMAIN + request.public_bytes(Encoding.DER)
    return base64.b64encode(present.sign(signed, ECDSA(SHA256()))).decode()


def read_certificates(text: bytes) -> Sequence[x509.Certificate]:
    """Read PEM certificates; raises `BadCertificate`."""
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        raise BadCertificate("not a certificate in PEM") from None


def check_certificate(certificate: bytes, key: bytes, authority: bytes) -> Facts:
    """Return what an agent's certificate (PEM) says, if it belongs to the key and the one authority issued it.

    The validity period is not compared with any clock: this box may not know the time.

    Raises:
        BadCertificate: it does not.
    """
    authorities = read_certificates(authority)
    if len(authorities) != 1:
        raise BadCertificate(f"{len(authorities)} authorities instead of one")
    issuer = authorities[0]
    found = read_certificates(certificate)[0]
    if found.public_key() != load_key(key).public_key():
        raise BadCertificate("the certificate is not for this box's key")
    public = issuer.public_key()
    if not isinstance(public, EllipticCurvePublicKey) or not isinstance(public.curve, SECP256R1):
        raise BadCertificate("the authority's key is not on P-256")
    try:
        found.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise BadCertificate("the certificate is not issued by the authority") from None
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise BadCertificate("the certificate names nobody")
    if found.not_valid_before_utc >= found.not_valid_after_utc:
        raise BadCertificate("the certificate is never valid")
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return Facts(
        str(names[0].value),
        found.not_valid_before_utc,
        found.not_valid_after_utc,
        base64.b64encode(point).decode(),
    )
