"""How a certificate stands at a time: good, to be renewed, near its end, ended. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from village_wire.states import Status

#: So long before its end a certificate that could not be renewed is a matter for a person; never more than a quarter of its life.
ENDING = timedelta(days=30)
#: Agents that were enrolled on one day renew within this part of a certificate's life.
SPREAD = 20


def renewal_due(issued: datetime, expires: datetime, chance: float) -> datetime:
    """Return when to renew: after half of the life, and up to a twentieth of it later; `chance` is between 0 and 1."""
    life = expires - issued
    return issued + life / 2 + life / SPREAD * chance


def standing(issued: datetime, expires: datetime, now: datetime) -> tuple[Status, str, str]:
    """Return status, reason code and evidence."""
    day = f"{expires:%Y-%m-%d %H:%M} UTC"
    if now >= expires:
        return "degraded", "certificate_ended", f"the certificate ended on {day}"
    if now >= expires - min(ENDING, (expires - issued) / 4):
        return "degraded", "certificate_ending", f"the certificate ends on {day}, in {(expires - now).days} days"
    return "ok", "works", f"the certificate is good until {day}"
