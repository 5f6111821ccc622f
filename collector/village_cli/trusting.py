"""How a collector's authority becomes known: it is compared once, as ssh does with a host's key, and held to from then on."""

from __future__ import annotations

import hmac
from pathlib import Path

from village_cli.asking import NobodyToAsk, agreed, somebody_there
from village_cli.client import Client
from village_cli.credentials import Credentials, Login
from village_cli.failures import Failure
from village_cli.pinning import CertificateRefused, fingerprint, parse_fingerprint, read_authority, shown
from village_cli.sessions import Session
from village_cli.tables import note
from village_cli.text import word
from village_wire.language import Bilingual, Language


class OtherFingerprint(Failure):
    """The authority at the address is not the expected one."""

    def __init__(self, url: str, found: str) -> None:
        super().__init__(
            Bilingual(
                f"The authority at {url} has another fingerprint: SHA256:{shown(found)}. Nothing was sent.",
                f"{url} 的 CA 指纹不符：SHA256:{shown(found)}。未发送任何内容。",
            ),
            Bilingual(
                "Compare with what the collector prints at its start; if that differs too, somebody stands between you and it.",
                "请与采集端启动时打印的指纹核对；若仍不同，可能有人在中间截取。",
            ),
        )


def settle(url: str, kept: Login | None, language: Language, *, file: Path | None, wanted: str | None) -> str:
    """Return the authority (PEM) to hold to at an address, "" for the system's store; raises `Failure`.

    In this order: a given file, a given fingerprint, what was accepted before, the system's store, a person's consent.
    """
    if url.startswith("http:"):
        return ""
    if file is not None:
        return read_authority(file)
    if wanted is not None:
        expected = parse_fingerprint(wanted)
        authority = _offered(url)
        found = fingerprint(authority)
        if not hmac.compare_digest(found, expected):
            raise OtherFingerprint(url, found)
        return authority
    if kept is not None and kept.authority:
        if somebody_there():
            # Who answers is settled before a password is typed.
            with Client(Session(url, kept.authority)) as client:
                client.authority()
        return kept.authority
    if _known_to_the_system(url):
        return ""
    return _accepted(url, language)


def remember(credentials: Credentials, url: str, kept: Login | None, authority: str) -> Login:
    """Keep an authority that was settled, so that a mistyped password does not lead to the question again; return what is kept."""
    if kept is not None and kept.authority == authority:
        return kept
    # A token of another authority's collector has nothing to seek here.
    login = Login(authority)
    credentials.keep(url, login)
    return login


def _offered(url: str) -> str:
    with Client(Session(url), unverified=True) as client:
        return client.authority()


def _known_to_the_system(url: str) -> bool:
    try:
        with Client(Session(url)) as client:
            client.authority()
    except CertificateRefused as refusal:
        if refusal.unknown_authority:
            return False
        raise
    return True


def _accepted(url: str, language: Language) -> str:
    authority = _offered(url)
    # Before anybody is asked: is it the one that signs for this address?
    with Client(Session(url, authority)) as client:
        client.authority()
    digits = fingerprint(authority)
    if not somebody_there():
        raise NobodyToAsk(
            Bilingual(
                f"Consent to the authority of {url} (SHA256:{shown(digits)})",
                f"对 {url} 的 CA（SHA256:{shown(digits)}）的确认",
            ),
            Bilingual(
                "Compare it with what the collector prints at its start, then give it with --fingerprint, or ca.pem with --ca.",
                "请与采集端启动时打印的指纹核对，再用 --fingerprint 提供，或用 --ca 提供 ca.pem。",
            ),
        )
    note(word("unknown_collector", language).format(url=url))
    note(f"  SHA256:{shown(digits)}")
    if not agreed(word("trust_question", language), language):
        raise Failure(Bilingual("Not logged in: the authority was not accepted.", "未登录：未认可该 CA。"))
    return authority
