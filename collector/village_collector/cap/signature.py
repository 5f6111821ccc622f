"""Who wrote an alert: its enveloped XML signature, made with one of the certificates that are trusted.

Only what was signed is returned, taken from the very bytes that were hashed, so that nothing wrapped around it is ever read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from village_collector.cap.document import InvalidAlert, hardened_parser, parse_document
from village_collector.cap.reading import NAMESPACE

if TYPE_CHECKING:
    from lxml import etree
    from signxml.verifier import SignatureConfiguration

_DSIG = "http://www.w3.org/2000/09/xmldsig#"
_SIGNATURE = f"{{{_DSIG}}}Signature"
#: What a signature may do to the document before it is hashed: take itself out, and write the rest in one canonical form. Forms with
#: comments are left out: a comment is nothing that anybody says.
_ENVELOPED = f"{_DSIG}enveloped-signature"
_CANONICAL = frozenset(
    {
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
        "http://www.w3.org/2006/12/xml-c14n11",
        "http://www.w3.org/2001/10/xml-exc-c14n#",
    }
)
MIN_RSA_BITS = 2048
#: A file may hold a signer's present and next certificate.
MAX_CERTIFICATES, MAX_FILE_BYTES = 20, 256 * 1024


class NotSigned(InvalidAlert):
    """Nothing shows that a trusted signer wrote it."""


class Signer(NamedTuple):
    """A certificate with which a feed signs. `feed` is the feed's name."""

    feed: str
    certificate: x509.Certificate

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate in hexadecimal."""
        return self.certificate.fingerprint(SHA256()).hex()

    @property
    def subject(self) -> str:
        """The name in the certificate."""
        return self.certificate.subject.rfc4514_string()


class Verified(NamedTuple):
    """The `alert` element as it was signed, and by whom."""

    root: etree._Element
    signer: Signer


def read_signers(feed: str, path: Path) -> list[Signer]:
    """Return the signers of a file of certificates (PEM).

    Raises:
        OSError: it can't be read.
        ValueError: no certificates, too many of them, or one with a key that is too weak; the text says which.
    """
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"over {MAX_FILE_BYTES} bytes")
    try:
        certificates = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ValueError("no certificates in PEM") from None
    if len(certificates) > MAX_CERTIFICATES:
        raise ValueError(f"more than {MAX_CERTIFICATES} certificates")
    for certificate in certificates:
        _check_key(certificate)
    return [Signer(feed, certificate) for certificate in certificates]


def verify(content: bytes, signers: Sequence[Signer], now: datetime) -> Verified:
    """Return what a trusted signer signed.

    Raises:
        NotSigned: unsigned, signed by somebody else or with a certificate that is not valid now, changed since, or by a method that
            is not taken.
        InvalidAlert: not XML that may be read.
    """
    root = parse_document(content)
    _check_form(root)
    if not signers:
        raise NotSigned("no signer is trusted: [[cap.feeds]] of the collector's configuration names none")
    reasons = []
    for signer in signers:
        problem = _period_problem(signer.certificate, now)
        try:
            signed = _signed_by(root, signer, now if not problem else signer.certificate.not_valid_before_utc)
        except NotSigned as error:
            reasons.append(str(error))
            continue
        if problem:
            raise NotSigned(f"signed by {signer.subject} of the feed {signer.feed}, whose certificate {problem}")
        return Verified(signed, signer)
    # "changed since" is said of the one signer who did sign it.
    raise NotSigned(max(reasons, key=lambda reason: reason != _FOREIGN))


_FOREIGN = "not signed with a trusted certificate"


def _signed_by(root: etree._Element, signer: Signer, time: datetime) -> etree._Element:
    from cryptography.exceptions import UnsupportedAlgorithm
    from lxml import etree
    from signxml.exceptions import InvalidDigest, InvalidInput, InvalidSignature, SignXMLException
    from signxml.verifier import XMLVerifier

    try:
        result = XMLVerifier().verify(
            root, x509_cert=signer.certificate, parser=hardened_parser(), expect_config=_taken(time)
        )
    except InvalidDigest:
        raise NotSigned(f"changed since {signer.subject} of the feed {signer.feed} signed it") from None
    except InvalidSignature as error:
        # Also says so when the key is of another kind.
        raise NotSigned(_FOREIGN if "verification failed" in str(error) else f"bad signature: {error}") from None
    except InvalidInput as error:
        different = "does not match specified signature algorithm" in str(error) or "SignatureValue" in str(error)
        raise NotSigned(_FOREIGN if different else f"bad signature: {str(error)[:200]}") from None
    except (SignXMLException, UnsupportedAlgorithm, etree.LxmlError, ValueError, TypeError, AttributeError) as error:
        raise NotSigned(f"bad signature: {str(error)[:200]}") from None
    if isinstance(result, list) or result.signed_xml is None or result.signed_xml.tag != f"{{{NAMESPACE}}}alert":
        raise NotSigned("the signature does not cover an alert")
    return result.signed_xml


@cache
def _methods() -> tuple[frozenset[object], frozenset[object]]:
    from signxml.algorithms import DigestAlgorithm, SignatureMethod

    names = ("RSA_SHA", "ECDSA_SHA", "SHA")
    sizes = ("256", "384", "512")
    methods = frozenset(
        method
        for method in SignatureMethod
        if method.name.startswith(names) and any(size in method.name for size in sizes)
    )
    return methods, frozenset(digest for digest in DigestAlgorithm if digest.name.endswith(sizes))


def _taken(time: datetime) -> SignatureConfiguration:
    from signxml.verifier import SignatureConfiguration

    methods, digests = _methods()
    return SignatureConfiguration(
        require_x509=True,
        location="./",
        expect_references=1,
        signature_methods=methods,  # type: ignore[arg-type]
        digest_algorithms=digests,  # type: ignore[arg-type]
        # The certificate is pinned; what stands beside it in the signature does not count.
        ignore_ambiguous_key_info=True,
        verification_time=time.astimezone(UTC),
    )


def _check_form(root: etree._Element) -> None:
    """Refuse every form of a signature but one: a single one, the root's child, over the whole document."""
    signatures = list(root.iter(_SIGNATURE))
    if not signatures:
        raise NotSigned("not signed")
    if len(signatures) > 1 or signatures[0].getparent() is not root:
        raise NotSigned("a signature stands once, directly in the alert")
    if root.tag != f"{{{NAMESPACE}}}alert":
        raise NotSigned(f"the root is {str(root.tag)[:100]!r}, not an alert")
    references = list(signatures[0].iter(f"{{{_DSIG}}}Reference"))
    if len(references) != 1 or references[0].get("URI") != "":
        raise NotSigned('a signature covers the whole document: one Reference with URI=""')
    transforms = [transform.get("Algorithm") for transform in references[0].iter(f"{{{_DSIG}}}Transform")]
    if transforms.count(_ENVELOPED) != 1 or not set(transforms) <= {_ENVELOPED, *_CANONICAL} or len(transforms) > 2:
        raise NotSigned("of transforms only enveloped-signature and one canonical form without comments are taken")
    forms = [form.get("Algorithm") for form in signatures[0].iter(f"{{{_DSIG}}}CanonicalizationMethod")]
    if len(forms) != 1 or forms[0] not in _CANONICAL:
        raise NotSigned("the signature's canonical form is not one without comments")


def _period_problem(certificate: x509.Certificate, now: datetime) -> str:
    if now < certificate.not_valid_before_utc:
        return f"is valid from {certificate.not_valid_before_utc:%Y-%m-%d} only"
    if now > certificate.not_valid_after_utc:
        return f"ended on {certificate.not_valid_after_utc:%Y-%m-%d}"
    return ""


def _check_key(certificate: x509.Certificate) -> None:
    key = certificate.public_key()
    bits = key.key_size if isinstance(key, RSAPublicKey) else 0
    curve = key.curve if isinstance(key, EllipticCurvePublicKey) else None
    if bits < MIN_RSA_BITS and not isinstance(curve, SECP256R1 | SECP384R1 | SECP521R1):
        name = certificate.subject.rfc4514_string()[:100]
        raise ValueError(f"{name}: neither an RSA key of {MIN_RSA_BITS} bits nor one of a curve P-256, P-384 or P-521")
