"""The back channel in a camera's session description (RFC 4566; ONVIF Streaming Specification, section 5.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urljoin

Codec = Literal["PCMU", "PCMA"]
#: G.711 mu-law and A-law, the better first, with their static payload types (RFC 3551).
_CODECS: tuple[tuple[Codec, int], ...] = (("PCMU", 0), ("PCMA", 8))
_MAX_PAYLOAD_TYPE = 128


@dataclass(frozen=True, slots=True)
class BackChannel:
    """Where sound is sent to. `control` is the address for `SETUP`, `aggregate` that for `PLAY`."""

    control: str
    aggregate: str
    codec: Codec
    payload_type: int


@dataclass(slots=True)
class _Media:
    kind: str
    formats: tuple[str, ...]
    attributes: list[str] = field(default_factory=list)

    def attribute(self, name: str) -> str | None:
        for attribute in self.attributes:
            key, _, value = attribute.partition(":")
            if key == name:
                return value
        return None

    def payload_type(self, codec: Codec, static: int) -> int | None:
        for attribute in self.attributes:
            name, _, value = attribute.partition(":")
            number, _, encoding = value.partition(" ")
            # A channel count may follow.
            known = encoding.strip().upper() in (f"{codec}/8000", f"{codec}/8000/1")
            if name == "rtpmap" and known and number.isascii() and number.isdigit() and int(number) < _MAX_PAYLOAD_TYPE:
                return int(number)
        return static if str(static) in self.formats else None


class NoBackChannel(ValueError):
    """The description holds none that takes G.711; the text says what it holds."""


def find_back_channel(text: str, base: str) -> BackChannel:
    """Return the first audio that the camera wants to be sent in G.711. `base` is the `Content-Base`.

    Raises `NoBackChannel`.
    """
    session, medias = _Media("", ()), list[_Media]()
    for line in text.splitlines():
        kind, _, value = line.strip().partition("=")
        if kind == "m":
            words = value.split()
            medias.append(_Media(words[0] if words else "", tuple(words[3:])))
        elif kind == "a":
            (medias[-1] if medias else session).attributes.append(value.strip())
    channels = [media for media in medias if media.kind == "audio" and media.attribute("sendonly") is not None]
    if not channels:
        raise NoBackChannel("the camera offers no back channel")
    aggregate = _address(base, session.attribute("control") or "*")
    for codec, static in _CODECS:
        for media in channels:
            number = media.payload_type(codec, static)
            if number is not None:
                return BackChannel(_address(base, media.attribute("control") or "*"), aggregate, codec, number)
    raise NoBackChannel("the camera's back channel takes no G.711 (PCMU or PCMA)")


def _address(base: str, control: str) -> str:
    if control == "*":
        return base
    if control.lower().startswith(("rtsp://", "rtsps://")):
        return control
    # RFC 2326, appendix C.1.1, wants RFC 1808; cameras and their clients append, also where the slash is missing.
    return urljoin(base.rstrip("/") + "/", control) if "?" not in base else f"{base.rstrip('/')}/{control}"
