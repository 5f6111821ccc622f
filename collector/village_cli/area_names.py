"""Names of areas from an office's own list; the system itself knows codes only."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from village_cli.failures import USAGE, Failure
from village_cli.safety import safe
from village_wire.language import Bilingual

#: The whole country has 660,000 villages.
_MAX_BYTES = 64 * 1024 * 1024
_MAX_NAME = 60


def read_names(path: Path) -> dict[str, str]:
    """Return names by code from a CSV file `code,name` in UTF-8 or GB 18030, with or without a line of titles. Raises `Failure`."""
    from village_wire.areas import InvalidArea, parse_area

    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _bad(path, Bilingual("it is larger than 64 MiB", "超过 64 MiB"))
        content = path.read_bytes()
    except OSError as error:
        raise _bad(path, Bilingual(str(error.strerror), str(error.strerror))) from None
    names: dict[str, str] = {}
    try:
        for number, row in enumerate(csv.reader(io.StringIO(_decoded(path, content)), strict=True), start=1):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            try:
                code = parse_area(cells[0])
            except InvalidArea as error:
                if number == 1:
                    continue
                raise _bad(
                    path, Bilingual(f"line {number}: {error}", f"第 {number} 行：{cells[0][:40]!r} 不是区域代码")
                ) from None
            if len(cells) < 2 or not cells[1]:
                raise _bad(path, Bilingual(f"line {number}: no name", f"第 {number} 行：没有名称"))
            names[code] = safe(cells[1][:_MAX_NAME])
    except csv.Error as error:
        raise _bad(path, Bilingual(str(error), str(error))) from None
    return names


def name_of(code: str, names: Mapping[str, str]) -> str:
    """Return the name of an area; of a grid or household without one, the village's with its number; else nothing."""
    if code in names:
        return names[code]
    village, dash, below = code.partition("-")
    return f"{names[village]} {below}" if dash and village in names else ""


def _decoded(path: Path, content: bytes) -> str:
    # Spreadsheets in China save GB 18030; a text in it is hardly ever valid UTF-8.
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise _bad(path, Bilingual("it is neither UTF-8 nor GB 18030", "既不是 UTF-8 也不是 GB 18030 编码"))


def _bad(path: Path, why: Bilingual) -> Failure:
    return Failure(
        Bilingual(f"{path} can't be used: {why.en}.", f"无法使用 {path}：{why.zh}。"),
        Bilingual(
            "Give a CSV file with lines such as 330110101205,Lin.", "请提供每行形如 330110101205,林村 的 CSV 文件。"
        ),
        exit_code=USAGE,
        reason=why.en if why.zh == why.en else "",
    )
