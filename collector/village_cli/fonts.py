"""Fonts of this machine that have the characters of a text."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from village_cli.failures import Failure
from village_wire.language import Bilingual

#: Outlines that a PDF can embed; fontconfig knows bitmaps, too.
_OUTLINES = frozenset({".ttf", ".otf", ".ttc", ".otc"})
#: Of fontconfig's list, sorted by how well a font suits, the first so many are looked into (0.1 s each).
_MAX_LOOKED_INTO = 24
_MAX_ASKED_SECONDS = 10
#: More than any collection holds.
_MAX_FACES = 64
#: Missing characters that are told by name.
_MAX_TOLD = 10
#: OS/2 fsType: of its bits for uses only the one that forbids to embed without leave of the owner.
_USES, _RESTRICTED = 0xE, 0x2
#: Where systems without fontconfig keep their Chinese fonts: path and face within the file.
_WELL_KNOWN = (
    ("/System/Library/Fonts/PingFang.ttc", 0),
    ("/System/Library/Fonts/Hiragino Sans GB.ttc", 0),
    ("/System/Library/Fonts/STHeiti Light.ttc", 1),
    ("/System/Library/Fonts/Supplemental/Songti.ttc", 0),
    ("/Library/Fonts/Arial Unicode.ttf", 0),
    ("{windows}/Fonts/msyh.ttc", 0),
    ("{windows}/Fonts/simhei.ttf", 0),
    ("{windows}/Fonts/simsun.ttc", 0),
    ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc", 0),
    ("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc", 0),
    ("/usr/share/fonts/wqy-microhei/wqy-microhei.ttc", 0),
)


@dataclass(frozen=True, slots=True)
class Face:
    """One font in a file that may hold several."""

    path: Path
    number: int = 0


def faces_for(signs: Iterable[str], given: Path | None) -> list[Face]:
    """Return the face that has all these characters, else as many as have them together; the most suitable is the first.

    A `given` font must have all by itself. Raises `Failure`, which names a package to install.
    """
    wanted = frozenset(signs)
    if given is not None:
        return [_face_in(given, wanted)]
    found: list[Face] = []
    missing = wanted
    for face in _faces_here():
        has = _characters(face)
        if wanted <= has:
            return [face]
        if missing & has:
            found.append(face)
            missing -= has
        if not missing:
            return found
    raise Failure(
        Bilingual(
            f"No font here has the characters {_told(missing)}.", f"本机没有包含这些字符的字体：{_told(missing)}。"
        ),
        _advice(),
    )


def _face_in(path: Path, wanted: frozenset[str]) -> Face:
    faces = [Face(path, number) for number in range(_count(path))]
    lacks = {face: wanted - has for face in faces if (has := _characters(face))}
    if not lacks:
        raise Failure(
            Bilingual(f"{path} is no font that can be embedded.", f"{path} 不是可嵌入的字体文件。"),
            Bilingual("Give a .ttf, .otf or .ttc file.", "请指定 .ttf、.otf 或 .ttc 文件。"),
        )
    best = min(lacks, key=lambda face: len(lacks[face]))
    if lacks[best]:
        raise Failure(
            Bilingual(f"{path} lacks the characters {_told(lacks[best])}.", f"{path} 缺少字符：{_told(lacks[best])}。"),
            Bilingual("Give another font.", "请指定其他字体。"),
        )
    return best


def _faces_here() -> Iterator[Face]:
    windows = os.environ.get("SYSTEMROOT", "C:/Windows")
    places = [Face(Path(path.format(windows=windows)), number) for path, number in _WELL_KNOWN]
    seen: set[Face] = set()
    for face in (*_asked_of_fontconfig(), *places):
        if face not in seen and face.path.suffix.lower() in _OUTLINES:
            seen.add(face)
            yield face


def _asked_of_fontconfig() -> list[Face]:
    """Ask for all fonts, sorted by how well they suit Chinese text without serifs."""
    command = ["fc-match", "--sort", "--format=%{file}\t%{index}\n", "sans-serif:lang=zh-cn"]
    try:
        asked = subprocess.run(command, capture_output=True, check=True, timeout=_MAX_ASKED_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = (os.fsdecode(line).split("\t") for line in asked.stdout.splitlines())
    # Above 16 bits stands an instance of a variable font.
    return [Face(Path(row[0]), int(row[1]) & 0xFFFF) for row in rows if len(row) == 2 and row[1].isdecimal()][
        :_MAX_LOOKED_INTO
    ]


def _count(path: Path) -> int:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise Failure(
            Bilingual(f"{path} can't be read: {error.strerror}.", f"无法读取 {path}：{error.strerror}。"),
            reason=error.strerror or "",
        ) from None
    return min(int.from_bytes(head[8:12], "big"), _MAX_FACES) if head[:4] == b"ttcf" else 1


def _characters(face: Face) -> frozenset[str]:
    """Return what a face can show in a PDF; nothing if it can't be read or forbids to be embedded."""
    from fontTools.ttLib import TTFont, TTLibError  # type: ignore[import-untyped]

    try:
        # Its own opening of a path leaves the file open when the font is damaged.
        with face.path.open("rb") as file, TTFont(file, fontNumber=face.number, lazy=True) as font:
            outlines = "glyf" in font or "CFF " in font
            allowed = "OS/2" not in font or font["OS/2"].fsType & _USES != _RESTRICTED
            signs = (font.getBestCmap() or {}) if outlines and allowed else {}
            return frozenset(map(chr, signs))
    # A damaged font breaks the library in many ways.
    except (TTLibError, OSError, AssertionError, ValueError, LookupError, AttributeError, TypeError, struct.error):
        return frozenset()


def _told(signs: frozenset[str]) -> str:
    shown = "".join(sorted(signs)[:_MAX_TOLD])
    return f"{shown} …" if len(signs) > _MAX_TOLD else shown


def _advice() -> Bilingual:
    if sys.platform.startswith("linux"):
        return Bilingual(
            "Install fonts-wqy-microhei (5 MB) or fonts-noto-cjk (Debian's names), or name a font with --font FILE.",
            "请安装 fonts-wqy-microhei（5 MB）或 fonts-noto-cjk（Debian 软件包），或用 --font FILE 指定字体。",
        )
    return Bilingual("Name a font with --font FILE.", "请用 --font FILE 指定字体。")
