"""Pictures that agents were asked for and have not uploaded yet. In memory: they live for a minute."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

#: Each may hold a picture of 4 MiB for a moment.
MAX_PENDING = 16


class TooManyUploads(Exception):
    """`MAX_PENDING` pictures are awaited already."""


class UploadRefused(Exception):
    """No picture is awaited under this command, or the token is wrong: which of them is not told."""


class PendingUpload:
    """One awaited picture."""

    def __init__(self, command: UUID) -> None:
        self.command = command
        self.token = secrets.token_urlsafe(32)
        self.picture: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._receiving = False

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """While a body is read. A second one at the same time is refused; one that broke off may be sent again."""
        if self._receiving or self.picture.done():
            raise UploadRefused
        self._receiving = True
        try:
            yield
        finally:
            self._receiving = False

    def complete(self, picture: bytes) -> None:
        """Hand the picture to whoever waits; from now on the token is used up."""
        if self.picture.done():
            raise UploadRefused
        self.picture.set_result(picture)


class PendingUploads:
    """All awaited pictures, by command."""

    def __init__(self) -> None:
        self._pending: dict[UUID, PendingUpload] = {}

    @contextmanager
    def expect(self, command: UUID) -> Iterator[PendingUpload]:
        """Await a picture while the block runs; raises `TooManyUploads`."""
        if len(self._pending) >= MAX_PENDING:
            raise TooManyUploads(f"{MAX_PENDING} pictures are awaited already")
        upload = PendingUpload(command)
        self._pending[command] = upload
        try:
            yield upload
        finally:
            del self._pending[command]
            upload.picture.cancel()

    def find(self, command: UUID, token: str) -> PendingUpload:
        """Return the upload that this token is for; raises `UploadRefused`."""
        upload = self._pending.get(command)
        if upload is None or not secrets.compare_digest(upload.token.encode(), token.encode()):
            raise UploadRefused
        return upload
