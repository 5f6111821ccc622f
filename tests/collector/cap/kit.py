"""Alerts to read, certificates to sign with, and signatures as senders make them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml import methods
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner

from village_collector.cap.alert import Alert, Info, Pair, Place
from village_collector.cap.signature import Signer
from village_collector.cap.writing import write_alert

VECTORS = Path(__file__).parents[2] / "vectors" / "cap"
EXAMPLES = sorted(path.stem for path in VECTORS.glob("*.xml"))
#: While the made-up rainstorm is on.
NOW = datetime(2026, 11, 24, 8, 0, 30, tzinfo=UTC)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def example(name: str) -> bytes:
    return (VECTORS / f"{name}.xml").read_bytes()


class Sender:
    """Who signs alerts."""

    def __init__(
        self,
        name: str = "warning.example.cn",
        key: PrivateKey | None = None,
        begin: datetime = NOW - timedelta(days=10),
        end: datetime = NOW + timedelta(days=300),
        feed: str = "province",
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.feed = feed
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .sign(self.key, SHA256())
        )

    @property
    def signer(self) -> Signer:
        return Signer(self.feed, self.certificate)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def sign(self, content: bytes | Alert, signer: XMLSigner | None = None, **more: Any) -> bytes:
        document = write_alert(content) if isinstance(content, Alert) else content
        algorithm = (
            SignatureMethod.RSA_SHA256 if isinstance(self.key, rsa.RSAPrivateKey) else SignatureMethod.ECDSA_SHA256
        )
        made = (signer or xml_signer(algorithm)).sign(
            etree.fromstring(document),
            key=self.key,
            cert=[self.certificate],
            **more,
        )
        return etree.tostring(made)


class OldSigner(XMLSigner):
    """Takes what nobody should use any more."""

    def check_deprecated_methods(self) -> None:
        pass


def xml_signer(
    algorithm: SignatureMethod = SignatureMethod.ECDSA_SHA256,
    digest: DigestAlgorithm = DigestAlgorithm.SHA256,
    form: CanonicalizationMethod = CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
) -> XMLSigner:
    return OldSigner(methods.enveloped, signature_algorithm=algorithm, digest_algorithm=digest, c14n_algorithm=form)


RAINSTORM = Alert(
    identifier="rain-1",
    sender="qixiang@warning.example.cn",
    sent=NOW - timedelta(seconds=30),
    status="Actual",
    message_type="Alert",
    scope="Public",
    infos=(
        Info(
            event="暴雨",
            urgency="Immediate",
            severity="Severe",
            certainty="Observed",
            categories=("Met",),
            language="zh-CN",
            expires=NOW + timedelta(hours=3),
            headline="暴雨橙色预警",
            instruction="请立即转移。",
            places=(Place("示例村", (Pair("行政区划代码", "441900003001"),)),),
        ),
    ),
)


def rainstorm(info: dict[str, Any] | None = None, **alert: Any) -> Alert:
    """The made-up alert with other values."""
    infos = (replace(RAINSTORM.infos[0], **info),) if info is not None else RAINSTORM.infos
    return replace(RAINSTORM, **{"infos": infos, **alert})
