"""Whom a TLS connection trusts: the authority that was accepted at `village login`, or the system's store."""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path

from village_cli.failures import UNREACHABLE, USAGE, Failure
from village_wire.language import Bilingual

#: An authority's certificate takes 1 kB.
MAX_AUTHORITY_BYTES = 64 * 1024
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", re.ASCII)
#: OpenSSL's reasons (`x509_vfy.h`) that tell of something else than a foreign authority.
_OTHER_TIME = {9, 10}
_OTHER_NAME = {62, 64}


class InvalidAuthority(Failure):
    """The text holds no certificate that can be trusted."""

    def __init__(self, where: str) -> None:
        super().__init__(
            Bilingual(f"{where} holds no certificate in PEM form.", f"{where} 中没有 PEM 格式的证书。"),
            Bilingual("Give the authority's ca.pem.", "请提供 CA 的 ca.pem 文件。"),
            exit_code=USAGE,
        )


class CertificateRefused(Failure):
    """The server's certificate is not one that is trusted: nothing was sent to it. `unknown_authority` tells whether its signer is the reason."""

    def __init__(
        self, message: Bilingual, advice: Bilingual, reason: str = "", *, unknown_authority: bool = False
    ) -> None:
        super().__init__(message, advice, exit_code=UNREACHABLE, reason=reason)
        self.unknown_authority = unknown_authority


def context(authority: str, where: str = "the authority") -> ssl.SSLContext:
    """Return a context that trusts one authority (PEM) and nothing else, or with "" the system's store; names are checked. Raises `InvalidAuthority`."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not authority:
        made.load_default_certs()
        return made
    try:
        made.load_verify_locations(cadata=authority)
    except (ssl.SSLError, ValueError):
        raise InvalidAuthority(where) from None
    # What the user pinned is trusted, also where somebody else has signed it.
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return made


def unverified_context() -> ssl.SSLContext:
    """Return a context that trusts anybody: only for the authority's certificate, which is then compared by its fingerprint."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def only_certificate(pem: str, where: str) -> str:
    """Return the first certificate of a PEM text and nothing that stands beside it; raises `InvalidAuthority`."""
    found = _CERTIFICATE.search(pem)
    if found is None:
        raise InvalidAuthority(where)
    context(found[0], where)
    return f"{found[0]}\n"


def read_authority(file: Path) -> str:
    """Return the certificates of a PEM file; raises `Failure`."""
    try:
        with file.open("rb") as source:
            content = source.read(MAX_AUTHORITY_BYTES + 1)
        pem = content.decode("ascii") if len(content) <= MAX_AUTHORITY_BYTES else ""
    except OSError as error:
        raise Failure(
            Bilingual(f"{file} can't be read: {error.strerror}.", f"无法读取 {file}：{error.strerror}。"),
            exit_code=USAGE,
            reason=error.strerror or "",
        ) from None
    except UnicodeDecodeError:
        pem = ""
    found = _CERTIFICATE.findall(pem)
    if not found:
        raise InvalidAuthority(str(file))
    kept = "".join(f"{certificate}\n" for certificate in found)
    context(kept, str(file))
    return kept


def fingerprint(pem: str) -> str:
    """Return the SHA-256 of the first certificate, as 64 hexadecimal digits."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(only_certificate(pem, "the authority").strip())).hexdigest()


def shown(digits: str) -> str:
    """Return a fingerprint in the form that people compare: `AB:CD:…`."""
    return bytes.fromhex(digits).hex(":").upper()


def parse_fingerprint(text: str) -> str:
    """Return the 64 digits of a fingerprint, with or without colons or `SHA256:`; raises `Failure`."""
    digits = re.sub(r"[:\s]", "", text.casefold().removeprefix("sha256:").removeprefix("sha256 "))
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise Failure(
            Bilingual(f"{text[:100]!r} is no SHA-256 fingerprint.", f"{text[:100]!r} 不是 SHA-256 指纹。"),
            Bilingual("It has 64 hexadecimal digits, colons or not.", "指纹为 64 位十六进制数字，可带冒号。"),
            exit_code=USAGE,
        )
    return digits


def refused(url: str, error: ssl.SSLCertVerificationError, *, pinned: bool) -> CertificateRefused:
    """Return what to tell about a certificate that did not pass."""
    reason = error.verify_message or "it does not verify"
    if error.verify_code in _OTHER_NAME:
        return CertificateRefused(
            Bilingual(
                f"The certificate at {url} is not for this name: {reason}.", f"{url} 的证书不适用于该地址：{reason}。"
            ),
            Bilingual(
                "Use an address that the certificate names, or have this one added to [api] names of the collector.",
                "请使用证书中列出的地址，或在采集端配置 [api] names 中加入该地址。",
            ),
            reason,
        )
    if error.verify_code in _OTHER_TIME:
        return CertificateRefused(
            Bilingual(
                f"The certificate at {url} does not hold at this time: {reason}.", f"{url} 的证书当前无效：{reason}。"
            ),
            Bilingual(
                "Check this machine's clock, then the collector's log: it renews its certificate by itself.",
                "请先检查本机时钟，再查看采集端日志：采集端会自动更新证书。",
            ),
            reason,
        )
    if pinned:
        return CertificateRefused(
            Bilingual(
                f"The certificate at {url} is not signed by the authority that you accepted: somebody may stand between"
                f" you and the collector ({reason}). Nothing was sent.",
                f"{url} 的证书不是由您认可的 CA 签发：可能有人在中间截取（{reason}）。未发送任何内容。",
            ),
            Bilingual(
                "Ask whoever runs the collector whether its authority changed. If so, `village login --fingerprint` with"
                " the fingerprint that they read to you.",
                "请向采集端管理员确认 CA 是否已更换。若已更换，请用对方告知的指纹运行 village login --fingerprint。",
            ),
            reason,
            unknown_authority=True,
        )
    return CertificateRefused(
        Bilingual(
            f"The certificate at {url} is signed by an authority that this machine does not know ({reason}).",
            f"{url} 的证书由本机未知的 CA 签发（{reason}）。",
        ),
        Bilingual(
            f"Log in with `village login --url {url}`, which shows its fingerprint; programs give VILLAGE_CA.",
            f"请运行 village login --url {url} 核对指纹并登录；程序请设置 VILLAGE_CA。",
        ),
        reason,
        unknown_authority=True,
    )
