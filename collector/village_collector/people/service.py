"""People: who shows a token, logging in and out, and their passwords and second factors."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from village_collector.people.names import InvalidName, normal_name
from village_collector.people.passwords import BadPassword, Passwords, check_new_password
from village_collector.people.second_factor import is_totp_secret, totp_step
from village_collector.people.throttle import Throttle, Wait
from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore
from village_collector.stores.people_records import Credentials, UnknownPerson
from village_collector.stores.token_records import ShownToken, TokenRecord

#: A working day; who sits at another desk by then logs in again.
SESSION_LIFE = timedelta(hours=12)
#: A browser, some terminals, some scripts; the oldest ends when there are more.
MAX_SESSIONS = 20
#: For so long what was read of a token counts. A revocation holds for whoever asks a second after it.
CACHE_SECONDS = 0.5
_MAX_CACHED = 10_000
#: How often the last use of a token is written down.
_TOUCH = timedelta(minutes=5)
_SECRET = re.compile(r"vt1\.[A-Za-z0-9_-]{43}", re.ASCII)


#: Called once a person has proved who they are and before anything is changed, to record the act; what it raises ends the act.
Before = Callable[[], Awaitable[None]]


class LoginRefused(Exception):
    """The name, the password or the code is wrong, or the person may not log in. The text is for the audit log only."""


class LockedOut(LoginRefused):
    """Too many tries: nothing was compared."""

    def __init__(self, wait: Wait) -> None:
        who = "this person from this address" if wait.reason == "person" else "this address"
        super().__init__(f"too many failed logins of {who}")
        self.seconds = wait.seconds


class OwnPasswordNeeded(Exception):
    """The password is an initial one: its person must choose another."""


@dataclass(frozen=True, slots=True, repr=False)
class IssuedToken:
    """A new token; its secret is told once."""

    secret: str
    token: TokenRecord


def new_secret() -> str:
    """Return the secret of a new token: 32 random bytes in text."""
    return f"vt1.{secrets.token_urlsafe(32)}"


def new_token_id() -> str:
    """Return the id of a new token, by which it is named and revoked."""
    return secrets.token_hex(8)


def known_form(person: str) -> str:
    """Return a name as it is stored; what is no name is nobody's."""
    try:
        return normal_name(person)
    except InvalidName:
        return ""


def digest_of(secret: str) -> str:
    """Return what is stored of a token's secret. It is random, so that a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


class People:
    """Lives in the event loop; all methods raise `StoreUnavailable`."""

    def __init__(
        self,
        control: ControlStore,
        *,
        passwords: Passwords | None = None,
        throttle: Throttle | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self.passwords = passwords or Passwords()
        self._throttle = throttle or Throttle()
        self._now = now
        self._monotonic = monotonic
        self._cache: dict[str, tuple[float, ShownToken]] = {}

    async def authenticate(self, secret: str) -> ShownToken | None:
        """Return whom a token belongs to; None if it is none, unknown, expired or revoked, or its person disabled.

        At most one query for each token in `CACHE_SECONDS`, and none for what does not look like a token.
        """
        if _SECRET.fullmatch(secret) is None:
            return None
        digest = digest_of(secret)
        cached = self._cache.get(digest)
        if (
            cached is not None
            and self._monotonic() - cached[0] < CACHE_SECONDS
            and cached[1].token.expires > self._now()
        ):
            return cached[1]
        # Before the query: what is changed during it shows at the latest when this has aged.
        started = self._monotonic()
        shown = await asyncio.to_thread(self._read, digest)
        if shown is None:
            self._cache.pop(digest, None)
            return None
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[digest] = (started, shown)
        return shown

    async def login(
        self, name: str, password: str, code: str, new_password: str | None, address: str, before: Before
    ) -> IssuedToken:
        """Return the token of a new session. `name` is of `known_form`. An initial password is replaced by `new_password`.

        Raises:
            LoginRefused: something is wrong, or `LockedOut`.
            OwnPasswordNeeded: name and initial password are right, and there is no `new_password`.
            BadPassword: they are right, and `new_password` is none that is taken.
            TooManyLogins: try again later.
        """
        step, known = await self._prove(name, password, code, address)
        current = known.password or ""
        if known.password_until is not None:
            if new_password is None:
                raise OwnPasswordNeeded
            if new_password == password:
                raise BadPassword("the new password is the initial one")
            check_new_password(new_password, name)
        await before()
        if new_password is not None and known.password_until is not None:
            initial, current = current, await self.passwords.hash(new_password)
            await self._set_password(name, current, initial)
        secret, now = new_secret(), self._now()
        token = TokenRecord(new_token_id(), name, "session", "", None, now, now + SESSION_LIFE)
        add = partial(self._control.add_token, token, digest_of(secret), MAX_SESSIONS, step=step, password=current)
        if not await asyncio.to_thread(add):
            raise LoginRefused("the code was used, or the person changed, in this moment")
        return IssuedToken(secret, token)

    async def change_password(
        self, person: str, password: str, new_password: str, address: str, kept: str, before: Before
    ) -> None:
        """Change one's own password; all sessions but `kept` (a token's id) end.

        Raises:
            LoginRefused: the present password is wrong, or `LockedOut`.
            BadPassword: the new one is none that is taken.
            TooManyLogins: try again later.
        """
        check_new_password(new_password, person)
        _, known = await self._prove(person, password, None, address)
        await before()
        await self._set_password(person, await self.passwords.hash(new_password), known.password or "", kept)
        self.forget()

    async def confirm_totp(
        self, person: str, password: str, secret: str, code: str, address: str, before: Before
    ) -> None:
        """Set one's second factor, a secret of `new_totp_secret`, shown to be in an app by its code.

        Raises:
            LoginRefused: password or code is wrong, or the secret is none; or `LockedOut`.
            TooManyLogins: try again later.
        """
        await self._prove(person, password, None, address)
        step = totp_step(secret, code, self._now()) if is_totp_secret(secret) else None
        if step is None:
            raise LoginRefused("wrong code")
        await before()
        await asyncio.to_thread(self._control.set_totp, person, secret, step)

    async def remove_totp(self, person: str, password: str, code: str, address: str, before: Before) -> None:
        """Take one's second factor away.

        Raises:
            LoginRefused: password or code is wrong, or `LockedOut`.
            TooManyLogins: try again later.
        """
        step, _ = await self._prove(person, password, code, address)
        if step is not None and not await asyncio.to_thread(self._control.use_totp_step, person, step):
            raise LoginRefused("the code was used before")
        await before()
        await asyncio.to_thread(self._control.set_totp, person, None)

    async def _prove(
        self, person: str, password: str, code: str | None, address: str
    ) -> tuple[int | None, Credentials]:
        """Compare password and code (None: without), at the same cost for everybody; return the code's step. It is not used up yet."""
        wait = self._throttle.attempt(person, address, self._monotonic())
        if wait is not None:
            raise LockedOut(wait)
        known = await asyncio.to_thread(self._control.credentials, person)
        right = await self.passwords.verify(known.password if known else None, password)
        now = self._now()
        step = None
        if known is None:
            raise LoginRefused("unknown person")
        if not right:
            raise LoginRefused("wrong password")
        if known.disabled:
            raise LoginRefused("disabled")
        if known.password_until is not None and known.password_until <= now:
            raise LoginRefused("the initial password is too old")
        if known.totp is not None and code is not None:
            step = totp_step(known.totp, code, now)
            if step is None:
                raise LoginRefused("wrong code")
            if known.totp_step is not None and step <= known.totp_step:
                raise LoginRefused("the code was used before")
        self._throttle.succeeded(person, address)
        return step, known

    async def _set_password(self, person: str, new: str, before: str, kept: str = "") -> None:
        change = partial(self._control.set_password, person, new, before=before, kept=kept)
        try:
            await asyncio.to_thread(change)
        except UnknownPerson:
            raise LoginRefused("the password was changed in this moment") from None

    def forget(self) -> None:
        """Read all tokens anew: something about people was changed."""
        self._cache.clear()

    def _read(self, digest: str) -> ShownToken | None:
        now = self._now()
        shown = self._control.shown_token(digest, now)
        if shown is not None and (shown.token.last_used is None or now - shown.token.last_used >= _TOUCH):
            # A full disk must lock nobody out.
            with contextlib.suppress(StoreUnavailable):
                self._control.touch_token(shown.token.id, now)
        return shown
