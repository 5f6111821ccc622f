"""Second factor: codes of an authenticator app (TOTP, RFC 6238), each of which works once. Pure but for the secret."""

from __future__ import annotations

import hmac
import re
from datetime import datetime

import pyotp

#: What every app takes.
STEP_SECONDS = 30
#: 160 bits, as RFC 4226 recommends.
_SECRET = re.compile(r"[A-Z2-7]{32}", re.ASCII)
_CODE = re.compile(r"[0-9]{6}", re.ASCII)
#: A telephone's clock may be half a minute off, and typing takes a while.
_STEPS = (0, -1, 1)


def new_totp_secret() -> str:
    """Return a new secret in base32."""
    return pyotp.random_base32(32)


def is_totp_secret(text: str) -> bool:
    """Tell whether a text has the form of `new_totp_secret`."""
    return _SECRET.fullmatch(text) is not None


def totp_uri(secret: str, person: str) -> str:
    """Return what an app reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=person, issuer_name="Village")


def totp_step(secret: str, code: str, now: datetime) -> int | None:
    """Return the step that a code belongs to, at most one from the present; None if it is wrong. Whoever accepts it keeps the step."""
    digits = "".join(code.split())
    if _CODE.fullmatch(digits) is None:
        return None
    totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
    present = int(now.timestamp()) // STEP_SECONDS
    found = None
    for offset in _STEPS:
        if hmac.compare_digest(totp.generate_otp(present + offset), digits) and found is None:
            found = present + offset
    return found
