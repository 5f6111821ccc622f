"""What boxes send to get a certificate: a signing request (PKCS #10)."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

_PEM_LABEL = "CERTIFICATE REQUEST"


class InvalidRequest(ValueError):
    """Not a signing request that the authority takes; the text is the reason."""


def read_request(request_pem: str) -> EllipticCurvePublicKey:
    """Return the key of a signing request (PEM); raises `InvalidRequest` unless it is EC P-256 and signed by that key."""
    try:
        request = x509.load_pem_x509_csr(request_pem.encode("ascii"))
        # The kind of key first: to verify a signature of somebody's giant RSA key costs seconds.
        key = request.public_key()
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise InvalidRequest("the key of a signing request must be EC P-256")
        if not request.is_signature_valid:
            raise InvalidRequest("the signing request is not signed by its own key")
    except InvalidRequest:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidRequest(f"not a signing request in PEM (-----BEGIN {_PEM_LABEL}-----)") from None
    return key
