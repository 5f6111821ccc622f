"""Fetches one sound file from the collector: resumed where it broke off, bounded and verified. Blocks; run it in a thread."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from village_agent.https import STEP_SECONDS, NotReached, open_connection
from village_wire.broadcasts import Audio

if TYPE_CHECKING:
    import http.client

_PIECE = 64 * 1024
_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/(?:[0-9]+|\*)", re.ASCII)


class Aborted(Exception):
    """Somebody wanted the download to end; it can be resumed."""


def download(url: str, audio: Audio, part: Path, context: ssl.SSLContext | None, abort: threading.Event) -> None:
    """Complete `part` with what `url` has; what is there already is asked for no more. Returns once size and hash are right.

    Raises:
        NotReached: no connection, another answer than the file, or a file that is not `audio` (then `part` is gone).
        Aborted: `abort` was set.
        OSError: the disk refuses.
    """
    # Costs half a megabyte and is seldom needed.
    import http.client

    have = _size(part, audio.bytes)
    if have < audio.bytes:
        parts = urlsplit(url)
        connection = open_connection(url, context)
        headers = {"Authorization": f"Bearer {audio.token}", **({"Range": f"bytes={have}-"} if have else {})}
        try:
            try:
                connection.request("GET", parts.path, headers=headers)
                answer = connection.getresponse()
            except ssl.SSLCertVerificationError as error:
                raise NotReached(f"the certificate of {parts.netloc} is refused: {error.verify_message}") from None
            except TimeoutError:
                raise NotReached(f"{parts.netloc} did not answer within {STEP_SECONDS:.0f} s") from None
            except (OSError, ValueError, http.client.HTTPException) as error:
                reason = getattr(error, "strerror", None) or error or type(error).__name__
                raise NotReached(f"{parts.netloc}: {reason}") from None
            _receive(answer, audio, part, have, abort)
        finally:
            connection.close()
    _verify(part, audio)


def holds(path: Path, audio: Audio) -> bool:
    """Whether a file is the sound, byte for byte; raises `OSError`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
        return file.tell() == audio.bytes and digest.hexdigest() == audio.sha256


def _size(part: Path, most: int) -> int:
    try:
        size = part.stat().st_size
    except FileNotFoundError:
        return 0
    if size > most:
        part.unlink()
        return 0
    return size


def _receive(answer: http.client.HTTPResponse, audio: Audio, part: Path, have: int, abort: threading.Event) -> None:
    import http.client

    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        begin = int(match[1]) if match else -1
        if begin != have:
            raise NotReached("the collector sends another part of the file than was asked for")
    elif answer.status == http.HTTPStatus.OK:
        begin = 0
    else:
        if answer.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)
        raise NotReached(f"the collector answers {answer.status} {answer.reason}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.truncate(begin)
        file.seek(begin)
        while True:
            if abort.is_set():
                raise Aborted
            try:
                piece = answer.read1(_PIECE)
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise NotReached(f"the connection broke after {file.tell()} of {audio.bytes} bytes: {error}") from None
            if not piece:
                break
            if file.tell() + len(piece) > audio.bytes:
                raise NotReached(f"the file is longer than the {audio.bytes} bytes that the command says")
            file.write(piece)
        if file.tell() < audio.bytes:
            raise NotReached(f"the connection ended after {file.tell()} of {audio.bytes} bytes")


def _verify(part: Path, audio: Audio) -> None:
    if not holds(part, audio):
        part.unlink(missing_ok=True)
        raise NotReached("what came is not the file that the command names: its SHA-256 differs")
