"""Sending a sound file to the collector, with its progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from village_cli.documents import text
from village_cli.failures import USAGE, Failure
from village_cli.text import word
from village_wire.language import Bilingual, Language

if TYPE_CHECKING:
    from village_cli.client import Client

#: As the collector takes it.
MAX_BYTES = 50_000_000
_PART_BYTES = 64 * 1024


def upload(client: Client, path: Path, language: Language, *, quiet: bool) -> str:
    """Send a sound file; return the SHA-256 by which a broadcast names it. Raises `Failure`."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            _check(path, size)
            # Who is not logged in is told before the file is on its way.
            client.get("/broadcasts", "village.broadcasts/1", limit=1)
            with _progress(size, language, quiet=quiet or not sys.stderr.isatty()) as told:
                answer = client.upload("/audio", "village.audio/1", _parts(file, told), size)
    except OSError as error:
        raise Failure(
            Bilingual(f"{path} can't be read: {error.strerror}.", f"无法读取 {path}：{error.strerror}。"),
            exit_code=USAGE,
            reason=error.strerror or "",
        ) from None
    return text(answer.document, "sha256")


def _check(path: Path, size: int) -> None:
    if 0 < size <= MAX_BYTES:
        return
    raise Failure(
        Bilingual(
            f"{path} has {size} bytes; a sound file has 1 to {MAX_BYTES}.",
            f"{path} 为 {size} 字节，应为 1 至 {MAX_BYTES} 字节。",
        ),
        Bilingual("Compress it: an hour of speech as MP3 takes 30 MB.", "请压缩：一小时 MP3 语音约 30 MB。"),
        exit_code=USAGE,
    )


def _parts(file: BinaryIO, told: Callable[[int], None]) -> Iterator[bytes]:
    while part := file.read(_PART_BYTES):
        yield part
        told(len(part))


@contextmanager
def _progress(size: int, language: Language, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    if quiet:
        yield lambda _: None
        return

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(word("uploading", language), total=size)

        def told(number: int) -> None:
            progress.advance(task, number)
            if progress.finished:
                progress.update(task, description=word("converting", language), total=None)

        yield told
