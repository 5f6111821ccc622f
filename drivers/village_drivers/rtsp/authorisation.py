"""Answers to a camera's challenge: Digest (RFC 7616, and RFC 2617 for cameras that know only that) and Basic (RFC 7617)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

_PARAMETER = re.compile(r'([A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_HASHES: Mapping[str, Callable[[bytes], str]] = {
    # Most cameras speak nothing better.
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}


@dataclass(frozen=True, slots=True)
class Login:
    """User name and password."""

    username: str
    password: str = field(repr=False)


@dataclass(slots=True)
class Challenge:
    """What a camera wants to be answered. `count` numbers the answers to one nonce."""

    scheme: str
    parameters: Mapping[str, str]
    count: int = 0

    def answer(self, login: Login, method: str, uri: str, client_nonce: str) -> str:
        """Return the value of the `Authorization` header for a request."""
        if self.scheme == "basic":
            return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
        name = self.parameters.get("algorithm", "MD5").upper()
        digest = _HASHES[name]
        realm, nonce = self.parameters.get("realm", ""), self.parameters.get("nonce", "")
        secret = digest(f"{login.username}:{realm}:{login.password}".encode())
        act = digest(f"{method}:{uri}".encode())
        fields = [f'username="{_quoted(login.username)}"', f'realm="{_quoted(realm)}"', f'nonce="{_quoted(nonce)}"']
        fields.append(f'uri="{uri}"')
        if "auth" in re.split(r"[\s,]+", self.parameters.get("qop", "")):
            self.count += 1
            number = f"{self.count:08x}"
            response = digest(f"{secret}:{nonce}:{number}:{client_nonce}:auth:{act}".encode())
            fields += [f"qop=auth, nc={number}", f'cnonce="{client_nonce}"']
        else:
            response = digest(f"{secret}:{nonce}:{act}".encode())
        fields.append(f'response="{response}"')
        if "algorithm" in self.parameters:
            fields.append(f"algorithm={name}")
        if "opaque" in self.parameters:
            fields.append(f'opaque="{_quoted(self.parameters["opaque"])}"')
        return "Digest " + ", ".join(fields)


def choose_challenge(headers: Sequence[str]) -> Challenge | None:
    """Return the best of the `WWW-Authenticate` headers, or None if this program can answer none of them."""
    found = []
    for header in headers:
        scheme, _, rest = header.strip().partition(" ")
        parameters = {key.lower(): _bare(quoted) or bare for key, quoted, bare in _PARAMETER.findall(rest)}
        if scheme.lower() == "digest" and parameters.get("algorithm", "MD5").upper() in _HASHES:
            found.append(Challenge("digest", parameters))
        elif scheme.lower() == "basic":
            found.append(Challenge("basic", parameters))
    return max(found, key=_strength, default=None)


def _strength(challenge: Challenge) -> tuple[bool, bool]:
    return challenge.scheme == "digest", challenge.parameters.get("algorithm", "MD5").upper() != "MD5"


def _quoted(text: str) -> str:
    # A line break would end the header.
    return "".join(filter(str.isprintable, text)).replace("\\", "\\\\").replace('"', '\\"')


def _bare(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
