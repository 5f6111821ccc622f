"""`village camera`: a picture taken now, as a file."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from village_cli.failures import Failure, answering
from village_cli.options import DeviceArgument, connect, examples, settings_of
from village_cli.tables import say
from village_cli.target import parse_device
from village_cli.text import Bilingual, word

EXAMPLES = examples(
    "village camera snapshot gate-1/camera -o gate.jpg", "village camera snapshot gate-1/camera -o - | display -"
)

#: Given by file systems that have no hard links.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})


@answering
def camera_snapshot(
    ctx: typer.Context,
    device: DeviceArgument,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout. 输出文件。")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file. 覆盖已有文件。")] = False,
) -> None:
    """Take a picture now and save it (readable by you only).

    立即抓拍并保存（仅本人可读）。
    """
    target = parse_device(device)
    path = Path(output)
    if output != "-" and path.exists() and not force:
        raise _exists(path)
    with connect(ctx) as client:
        picture = client.picture(f"/cameras/{target.agent}/{target.device}/snapshot")
    if output == "-":
        sys.stdout.buffer.write(picture)
        return
    save(path, picture, force=force)
    say(word("saved", settings_of(ctx).language).format(bytes=len(picture), file=path))


def save(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file that is either there in full or not at all; raises `Failure` if it exists (without `force`) or can't be written."""
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:50]}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if force:
            temporary.replace(path)
        else:
            _place(temporary, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise Failure(
            Bilingual(f"{path} can't be written: {error.strerror}.", f"无法写入 {path}：{error.strerror}。"),
            Bilingual("Choose another file with -o.", "请用 -o 指定其他文件。"),
        ) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _place(temporary: Path, path: Path) -> None:
    # A hard link fails if the name exists, even if it came into being since we looked.
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(path) from None
        temporary.replace(path)


def _exists(path: Path) -> Failure:
    return Failure(
        Bilingual(f"{path} exists.", f"{path} 已存在。"),
        Bilingual("Choose another name, or overwrite it with --force.", "请换个文件名，或用 --force 覆盖。"),
    )
