"""Who wrote an alert: real signatures, and every way in which one is no proof."""

from __future__ import annotations

import base64
import copy
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml import methods
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod

from tests.collector.cap.kit import NOW, OldSigner, Sender, example, rainstorm, xml_signer
from village_collector.cap.document import InvalidAlert
from village_collector.cap.reading import NAMESPACE, alert_of
from village_collector.cap.signature import NotSigned, read_signers, verify
from village_collector.cap.writing import write_alert

DSIG = "{http://www.w3.org/2000/09/xmldsig#}"
SENDER = Sender()
OTHER = Sender("somebody else", feed="other")


def refused(content: bytes, *senders: Sender) -> str:
    with pytest.raises(NotSigned) as caught:
        verify(content, [sender.signer for sender in senders or (SENDER,)], NOW)
    return str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
)
@pytest.mark.parametrize("name", ["china_rainstorm", "oasis_a4"])
def test_a_signed_alert_is_read(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str) -> None:
    sender = Sender(key=key)
    verified = verify(sender.sign(example(name)), [OTHER.signer, sender.signer], NOW)
    assert verified.signer == sender.signer
    assert alert_of(verified.root) == alert_of(etree.fromstring(example(name)))
    assert verified.root.find(f".//{DSIG}Signature") is None


@pytest.mark.parametrize("form", [form for form in CanonicalizationMethod if "WITH" not in form.name])
def test_every_canonical_form_without_comments_is_taken(form: CanonicalizationMethod) -> None:
    verify(SENDER.sign(rainstorm(), xml_signer(form=form)), [SENDER.signer], NOW)


def test_no_signature() -> None:
    assert refused(example("china_rainstorm")) == "not signed"


def test_nobody_is_trusted() -> None:
    with pytest.raises(NotSigned, match="no signer is trusted"):
        verify(SENDER.sign(rainstorm()), [], NOW)


def test_another_signer() -> None:
    # The certificate that comes with it is theirs, and of the same name.
    double = Sender()
    assert refused(double.sign(rainstorm())) == "not signed with a trusted certificate"
    assert refused(Sender(key=rsa.generate_private_key(65537, 2048)).sign(rainstorm())) == (
        "not signed with a trusted certificate"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [("Severe", "Minor"), ("请立即转移", "请勿转移"), ("441900003001", "441900003002"), ("<info>", "<info> ")],
)
def test_a_change_after_the_signature(old: str, new: str) -> None:
    signed = SENDER.sign(rainstorm())
    text = etree.tostring(etree.fromstring(signed), encoding="unicode")
    assert old in text
    assert "changed since" in refused(text.replace(old, new, 1).encode())


def test_a_comment_after_the_signature_changes_nothing() -> None:
    signed = SENDER.sign(rainstorm())
    text = etree.tostring(etree.fromstring(signed), encoding="unicode").replace(
        "请立即转移。", "请<!-- 勿 -->立即转移。"
    )
    verified = verify(text.encode(), [SENDER.signer], NOW)
    assert alert_of(verified.root).infos[0].instruction == "请立即转移。"


def test_an_expired_signer() -> None:
    old = Sender(begin=NOW - timedelta(days=400), end=NOW - timedelta(days=1))
    assert refused(old.sign(rainstorm()), OTHER, old).endswith("certificate ended on 2026-11-23")
    new = Sender(begin=NOW + timedelta(days=1))
    assert refused(new.sign(rainstorm()), OTHER, new).endswith("is valid from 2026-11-25 only")


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        (SignatureMethod.ECDSA_SHA1, DigestAlgorithm.SHA256),
        (SignatureMethod.ECDSA_SHA256, DigestAlgorithm.SHA1),
        (SignatureMethod.ECDSA_SHA224, DigestAlgorithm.SHA256),
    ],
)
def test_weak_methods(algorithm: SignatureMethod, digest: DigestAlgorithm) -> None:
    assert "bad signature" in refused(SENDER.sign(rainstorm(), xml_signer(algorithm, digest)))


def test_a_shared_secret_is_no_signature() -> None:
    # The certificate is public: taken for a secret it would let anybody sign.
    made = OldSigner(methods.enveloped, signature_algorithm=SignatureMethod.HMAC_SHA256)
    signed = made.sign(etree.fromstring(write_alert(rainstorm())), key=SENDER.pem.decode())
    assert "bad signature" in refused(etree.tostring(signed))


def test_forms_with_comments() -> None:
    form = CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0_WITH_COMMENTS
    assert "canonical form" in refused(SENDER.sign(rainstorm(), xml_signer(form=form)))


def wrapped(how: str) -> bytes:
    """A false alert around a true one."""
    true = etree.fromstring(SENDER.sign(rainstorm()))
    signature = true.find(f"{DSIG}Signature")
    assert signature is not None
    false = etree.fromstring(write_alert(rainstorm({"headline": "假的"}, identifier="false-1")))
    if how == "signature moved":
        false.append(signature)
    elif how == "true one inside":
        false.append(true)
    elif how == "true one inside, signature outside":
        false.append(signature)
        false.append(true)
    elif how == "true one in an Object of the signature":
        holder = etree.SubElement(signature, f"{DSIG}Object")
        original = copy.deepcopy(true)
        false.append(signature)
        holder.append(original)
    elif how == "false one in an Object":
        etree.SubElement(signature, f"{DSIG}Object").append(false)
        return etree.tostring(true)
    elif how == "false info in the signature":
        etree.SubElement(signature, f"{DSIG}Object").append(false.find(f"{{{NAMESPACE}}}info"))  # type: ignore[arg-type]
        return etree.tostring(true)
    elif how == "another root":
        root = etree.Element("alerts")
        root.extend([false, true])
        return etree.tostring(root)
    elif how == "two signatures":
        true.append(copy.deepcopy(signature))
        return etree.tostring(true)
    return etree.tostring(false)


@pytest.mark.parametrize(
    "how",
    [
        "signature moved",
        "true one inside",
        "true one inside, signature outside",
        "true one in an Object of the signature",
        "another root",
        "two signatures",
    ],
)
def test_a_signature_wrapped_in_a_false_alert(how: str) -> None:
    refused(wrapped(how))


@pytest.mark.parametrize("how", ["false one in an Object", "false info in the signature"])
def test_what_stands_inside_the_signature_is_never_read(how: str) -> None:
    verified = verify(wrapped(how), [SENDER.signer], NOW)
    assert alert_of(verified.root) == rainstorm()


def test_a_signature_by_id_over_a_part() -> None:
    true = etree.fromstring(write_alert(rainstorm()))
    true.set("Id", "x")
    made = xml_signer().sign(true, key=SENDER.key, cert=[SENDER.certificate], reference_uri="#x")
    false = etree.fromstring(write_alert(rainstorm({"headline": "假的"})))
    signature = made.find(f"{DSIG}Signature")
    assert signature is not None
    assert "covers the whole document" in refused(etree.tostring(made))
    false.append(signature)
    false.append(made)
    assert "covers the whole document" in refused(etree.tostring(false))


def test_other_transforms() -> None:
    signed = etree.fromstring(SENDER.sign(rainstorm()))
    transforms = signed.find(f".//{DSIG}Transforms")
    assert transforms is not None
    etree.SubElement(transforms, f"{DSIG}Transform", Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116")
    assert "of transforms only" in refused(etree.tostring(signed))


def test_a_signed_document_that_is_no_alert() -> None:
    assert "not an alert" in refused(SENDER.sign(b"<x><y/></x>"))


@pytest.mark.parametrize("part", ["SignatureValue", "DigestValue", "SignedInfo", "DigestMethod"])
@pytest.mark.parametrize("put", ["", "!!", "AAAA", base64.b64encode(b"x" * 64).decode()])
def test_damaged_signatures(part: str, put: str) -> None:
    signed = etree.fromstring(SENDER.sign(rainstorm()))
    element = signed.find(f".//{DSIG}{part}")
    assert element is not None
    for child in list(element):
        element.remove(child)
    element.text = put
    element.attrib.clear()
    refused(etree.tostring(signed))


def test_the_certificate_in_a_signature_is_neither_needed_nor_believed() -> None:
    signed = etree.fromstring(SENDER.sign(rainstorm()))
    info = signed.find(f".//{DSIG}KeyInfo")
    assert info is not None
    parent = info.getparent()
    assert parent is not None
    parent.remove(info)
    assert verify(etree.tostring(signed), [SENDER.signer], NOW).signer == SENDER.signer


def test_a_dtd_is_refused_before_anything_else() -> None:
    text = etree.tostring(etree.fromstring(SENDER.sign(rainstorm())), encoding="unicode")
    with pytest.raises(InvalidAlert, match="DOCTYPE"):
        verify(f'<!DOCTYPE alert [<!ENTITY a "b">]>{text}'.encode(), [SENDER.signer], NOW)


def write(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


def test_signers_are_read_from_files(tmp_path: Path) -> None:
    found = read_signers("province", write(tmp_path / "a.pem", SENDER.pem, OTHER.pem))
    assert [signer.certificate for signer in found] == [SENDER.certificate, OTHER.certificate]
    assert found[0].subject == "CN=warning.example.cn"
    assert found[0].fingerprint == SENDER.certificate.fingerprint(SHA256()).hex()


def ed25519_certificate() -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return made.sign(key, None).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no certificates"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificates"),
        (Sender(key=rsa.generate_private_key(65537, 1024)).pem, "neither an RSA key of 2048 bits nor"),  # noqa: S505
        (Sender(key=ec.generate_private_key(ec.SECP192R1())).pem, "neither an RSA key of 2048 bits nor"),
        (ed25519_certificate(), "neither an RSA key"),
        (SENDER.pem * 21, "more than 20 certificates"),
        (b" " * 300_000, "over 262144 bytes"),
    ],
)
def test_files_without_signers(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_signers("province", write(tmp_path / "a.pem", content))
