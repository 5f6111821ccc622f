"""Files that a command leaves behind: in full or not at all, and never over another one by accident."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from village_cli.failures import Failure
from village_wire.language import Bilingual

#: Given by file systems that have no hard links.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise `Failure` if a file exists and is not to be overwritten: before work is done for it."""
    if path.exists() and not force:
        raise _exists(path)


def save(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file, readable by its owner only; raises `Failure` if it exists (without `force`) or can't be written."""
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
            Bilingual("Choose another file.", "请指定其他文件。"),
            reason=error.strerror or "",
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
