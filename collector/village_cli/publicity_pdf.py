"""The report of publicity as an office hands it in: A4, the areas over as many pages as they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from village_cli.area_names import name_of
from village_cli.documents import number, rows, text
from village_cli.failures import Failure
from village_cli.safety import safe
from village_cli.text import Bilingual, Language, word
from village_cli.times import local

if TYPE_CHECKING:
    from fpdf import FPDF

    from village_cli.fonts import Face

#: Months are of China's time, which knows no summer time.
_CHINA = timezone(timedelta(hours=8))
#: The order in which categories stand; others follow.
_CATEGORIES = ("anti_fraud", "law", "weather", "fire", "news", "music", "other")
#: Millimetres.
_MARGIN, _LINE, _WIDTH = 15.0, 4.6, 180.0
_CODE, _LOUDSPEAKERS, _NUMBER = 28.0, 18.0, 12.8
#: Points.
_BODY, _SMALL, _TITLE, _HEAD = 9.0, 7.8, 16.0, 11.0
_GREY, _LIGHT = (110, 110, 110), (232, 236, 241)

_TEXTS: Mapping[str, Bilingual] = {
    "title": Bilingual("Publicity report", "宣传播出月报"),
    "month": Bilingual("Month", "统计月份"),
    "month_value": Bilingual("{month} (China Standard Time)", "{month}（北京时间）"),
    "open": Bilingual("not over yet: counted up to the time of making", "本月未结束，统计截至制表时间"),
    "scope": Bilingual("Areas", "统计范围"),
    "within": Bilingual("{area} and all below it", "{area} 及其全部下级"),
    "all": Bilingual("all that the maker may see", "制表人可查看的全部区域"),
    "loudspeakers": Bilingual("Loudspeakers", "扬声器"),
    "of": Bilingual("{heard} of {total} were heard", "共 {total} 个，其中 {heard} 个有播出"),
    "by_area": Bilingual("Minutes heard, by area and category", "各区域各类别播出时长（分钟）"),
    "code": Bilingual("Area", "区域代码"),
    "name": Bilingual("Name", "区域名称"),
    "heard": Bilingual("Heard / all", "有播出 / 全部"),
    "total": Bilingual("Total", "合计"),
    "mean": Bilingual("All areas (mean of all loudspeakers)", "全部区域（全部扬声器平均）"),
    "no_areas": Bilingual("No area has a loudspeaker.", "没有安装扬声器的区域。"),
    "by_category": Bilingual("All areas, by category", "各类别合计"),
    "category": Bilingual("Category", "类别"),
    "areas": Bilingual("Areas that heard it", "播出区域数"),
    "minutes": Bilingual("Minutes (mean of all loudspeakers)", "平均时长（分钟）"),
    "sum": Bilingual("Minutes (sum of all loudspeakers)", "累计时长（分钟）"),
    "plays": Bilingual("Plays", "播放次数"),
    "counted": Bilingual("How it was counted", "统计方法"),
    "method": Bilingual(
        "Only what loudspeakers confirmed by a receipt counts: the time for which they sounded, not what was sent or planned. "
        "The minutes of an area are the mean of its loudspeakers; one that stayed silent counts with 0. Areas below are rows of "
        "their own and are not contained in those above. Counted are the loudspeakers installed at the time of making, and those "
        "that were heard in the month. Plays are plays on a loudspeaker, interrupted ones included.",
        "仅统计扬声器以回执确认的实际播出时长，不含仅下发或计划的内容。区域时长为该区域全部扬声器的平均值，"
        "未播出的扬声器按 0 计入。下级区域单独列出，不计入上级区域。扬声器为制表时已安装的以及当月有播出的扬声器。"
        "播放次数按每个扬声器分别计算，含被中断的播放。",
    ),
    "made": Bilingual("Made", "制表"),
    "made_value": Bilingual("{time} by {person}", "{person}，{time}"),
    "checked": Bilingual("Checked by", "审核"),
    "date": Bilingual("Date", "日期"),
    "page": Bilingual("Page {page} of {pages}", "第 {page} 页，共 {pages} 页"),
}


@dataclass(frozen=True, slots=True)
class Making:
    """What a report does not hold itself: when and by whom it was made, for which area (None: all), and how areas are called."""

    time: datetime
    person: str
    area: str | None
    names: Mapping[str, str]
    language: Language


def make(document: Mapping[str, Any], making: Making, font: Path | None) -> bytes:
    """Return the PDF of a `village.publicity/1`; raises `Failure` if no font has its characters or the library is absent."""
    from village_cli.fonts import faces_for

    try:
        from fpdf import FPDF
    except ImportError:
        raise Failure(
            Bilingual("PDF files need the library fpdf2.", "生成 PDF 需要 fpdf2 库。"),
            Bilingual("Install it with: pip install fpdf2", "请执行：pip install fpdf2"),
        ) from None
    report = _Report.read(document, making)
    signs = {sign for line in report.texts() for sign in line} - {"\n"}
    # All readers have Helvetica.
    plain = font is None and all(sign.isascii() for sign in signs)
    faces = [] if plain else faces_for(signs, font)

    class Paper(FPDF):
        """Puts the number under each page."""

        def footer(self) -> None:
            self.set_y(-_MARGIN)
            self.set_text_color(*_GREY)
            self.set_font_size(_SMALL)
            page = report.say("page", page=self.page_no(), pages=self.str_alias_nb_pages)
            self.cell(w=0, h=_LINE, text=f"{report.say('title')} {report.month}   {page}", align="C")
            self.set_text_color(0)

    paper = Paper(format="A4")
    paper.set_margins(_MARGIN, _MARGIN)
    paper.set_auto_page_break(auto=True, margin=_MARGIN + 2 * _LINE)
    paper.set_title(f"{report.say('title')} {report.month}")
    paper.set_author(making.person)
    paper.set_lang("zh-CN" if making.language == "zh" else "en")
    paper.set_creation_date(making.time)
    _choose_font(paper, faces)
    paper.add_page()
    _head(paper, report)
    _by_area(paper, report)
    _by_category(paper, report)
    _end(paper, report)
    return bytes(paper.output())


@dataclass(frozen=True, slots=True)
class _Row:
    """An area: code, name, loudspeakers that were heard and all, and minutes by category (mean, sum, plays)."""

    code: str
    name: str
    heard: int
    loudspeakers: int
    categories: Mapping[str, tuple[float, float, int]]


@dataclass(frozen=True, slots=True)
class _Report:
    making: Making
    month: str
    rows: Sequence[_Row]
    categories: Sequence[str]

    @classmethod
    def read(cls, document: Mapping[str, Any], making: Making) -> _Report:
        found = [_row(area, making.names) for area in rows(document, "areas")]
        there = {category for row in found for category in row.categories}
        known = [category for category in _CATEGORIES if category in there]
        return cls(making, safe(text(document, "month")), found, [*known, *sorted(there.difference(known))])

    def say(self, key: str, **places: object) -> str:
        return _TEXTS[key].of(self.making.language).format(**places)

    def category(self, category: str) -> str:
        return word(f"category_{category}", self.making.language).removeprefix("category_")

    @property
    def loudspeakers(self) -> int:
        return sum(row.loudspeakers for row in self.rows)

    def facts(self) -> list[tuple[str, str]]:
        month = self.say("month_value", month=self.month)
        if self.making.time.astimezone(_CHINA).strftime("%Y-%m") <= self.month:
            month += f"{word('comma', self.making.language)}{self.say('open')}"
        area = self.making.area
        called = f"{area} {name_of(area, self.making.names)}".rstrip() if area else ""
        heard = sum(row.heard for row in self.rows)
        return [
            (self.say("month"), month),
            (self.say("scope"), self.say("within", area=called) if area else self.say("all")),
            (self.say("loudspeakers"), self.say("of", heard=heard, total=self.loudspeakers)),
            (self.say("made"), self.say("made_value", time=local(self.making.time), person=self.making.person)),
        ]

    def area_table(self) -> list[list[str]]:
        """Titles, the areas, and the mean of all loudspeakers."""
        named = any(row.name for row in self.rows)

        def line(code: str, name: str, heard: int, of: int, minutes: Sequence[float]) -> list[str]:
            numbers = [_shown(one) for one in (*minutes, sum(minutes))]
            return [code, *([name] if named else []), f"{heard} / {of}", *numbers]

        titles = [self.say("code"), *([self.say("name")] if named else []), self.say("heard")]
        # The library breaks lines at spaces only.
        categories = [self.category(one).replace("-", "-\n") for one in self.categories]
        lines = [[*titles, *categories, self.say("total")]]
        for row in self.rows:
            minutes = [row.categories.get(one, (0.0, 0.0, 0))[0] for one in self.categories]
            lines.append(line(row.code, row.name, row.heard, row.loudspeakers, minutes))
        heard = sum(row.heard for row in self.rows)
        minutes = [self.sum_of(one) / max(1, self.loudspeakers) for one in self.categories]
        return [*lines, line(self.say("mean"), "", heard, self.loudspeakers, minutes)]

    def category_table(self) -> list[list[str]]:
        """Titles, the categories, and their sum."""
        lines = [[self.say(key) for key in ("category", "areas", "minutes", "sum", "plays")]]
        sums = [self.sum_of(one) for one in self.categories]
        plays = [sum(row.categories[one][2] for row in self.rows if one in row.categories) for one in self.categories]
        for category, minutes, often in zip(self.categories, sums, plays, strict=True):
            reached = sum(category in row.categories for row in self.rows)
            mean = _shown(minutes / max(1, self.loudspeakers))
            lines.append([self.category(category), str(reached), mean, _shown(minutes), str(often)])
        reached = sum(bool(row.categories) for row in self.rows)
        mean = _shown(sum(sums) / max(1, self.loudspeakers))
        return [*lines, [self.say("total"), str(reached), mean, _shown(sum(sums)), str(sum(plays))]]

    def sum_of(self, category: str) -> float:
        return sum(row.categories[category][1] for row in self.rows if category in row.categories)

    def texts(self) -> Iterable[str]:
        """All that is to be printed, so that fonts can be chosen by it."""
        yield from (both.of(self.making.language) for both in _TEXTS.values())
        yield "0123456789"
        yield from (part for fact in self.facts() for part in fact)
        yield from (cell for line in (*self.area_table(), *self.category_table()) for cell in line)


def _row(area: Mapping[str, Any], names: Mapping[str, str]) -> _Row:
    code = safe(text(area, "area"))
    found = {
        safe(text(one, "category")): (_number(one, "minutes"), _number(one, "loudspeaker_minutes"), int(_number(one, "plays")))
        for one in rows(area, "categories")
    }  # fmt: skip
    counts = int(_number(area, "heard")), int(_number(area, "loudspeakers"))
    return _Row(code or "-", name_of(code, names), *counts, found)


def _number(row: Mapping[str, Any], name: str) -> float:
    return number(row.get(name)) or 0.0


def _shown(minutes: float) -> str:
    return f"{minutes:.2f}" if minutes else "0"


def _choose_font(paper: FPDF, faces: Sequence[Face]) -> None:
    for place, face in enumerate(faces):
        paper.add_font(f"face{place}", fname=face.path, collection_font_number=face.number)
    if faces:
        paper.set_font("face0")
        paper.set_fallback_fonts([f"face{place}" for place in range(1, len(faces))])
    else:
        paper.set_font("helvetica")


def _head(paper: FPDF, report: _Report) -> None:
    paper.set_font_size(_TITLE)
    paper.cell(w=0, h=12, text=f"{report.say('title')} {report.month}", align="C", new_x="LMARGIN", new_y="NEXT")
    paper.set_font_size(_BODY)
    for name, value in report.facts():
        paper.set_text_color(*_GREY)
        paper.cell(w=_CODE, h=_LINE + 1, text=name)
        paper.set_text_color(0)
        paper.multi_cell(w=_WIDTH - _CODE, h=_LINE + 1, text=value, align="L", new_x="LMARGIN", new_y="NEXT")


def _by_area(paper: FPDF, report: _Report) -> None:
    _heading(paper, report.say("by_area"))
    if not report.rows:
        paper.multi_cell(w=0, h=_LINE, text=report.say("no_areas"), align="L", new_x="LMARGIN", new_y="NEXT")
        return
    table = report.area_table()
    numbers = len(report.categories) + 1
    named = len(table[0]) > numbers + 2
    rest = _WIDTH - _CODE - _LOUDSPEAKERS
    # What the numbers leave is the names', up to a third of the paper.
    name = [max(_NUMBER, min(_WIDTH / 3, rest - numbers * _NUMBER))] if named else []
    each = (rest - sum(name)) / numbers
    _table(paper, table, (_CODE, *name, _LOUDSPEAKERS, *[each] * numbers), left=2 if named else 1)


def _by_category(paper: FPDF, report: _Report) -> None:
    if report.categories:
        _together(paper, (len(report.categories) + 4) * (_LINE + 2))
        _heading(paper, report.say("by_category"))
        _table(paper, report.category_table(), (36, 36, 40, 40, 28), left=1)


def _end(paper: FPDF, report: _Report) -> None:
    from fpdf.enums import WrapMode

    _together(paper, 12 * _LINE)
    _heading(paper, report.say("counted"))
    paper.set_font_size(_BODY)
    # Chinese has no spaces to break lines at.
    wrap = WrapMode.CHAR if report.making.language == "zh" else WrapMode.WORD
    method = report.say("method")
    paper.multi_cell(w=0, h=_LINE, text=method, align="L", wrapmode=wrap, new_x="LMARGIN", new_y="NEXT")
    paper.ln(3 * _LINE)
    for key in ("checked", "date"):
        label = report.say(key)
        width = paper.get_string_width(label) + 4
        paper.cell(w=width, h=_LINE, text=label)
        x, y = paper.get_x(), paper.get_y() + _LINE
        paper.line(x, y, x + 55, y)
        paper.set_x(x + 65)


def _heading(paper: FPDF, title: str) -> None:
    paper.ln(_LINE)
    paper.set_font_size(_HEAD)
    paper.cell(w=0, h=_LINE + 3, text=title, new_x="LMARGIN", new_y="NEXT")


def _together(paper: FPDF, height: float) -> None:
    """Begin a page unless so much fits on this one."""
    if paper.will_page_break(height):
        paper.add_page()


def _table(paper: FPDF, lines: Sequence[Sequence[str]], widths: Sequence[float], *, left: int) -> None:
    """Draw titles, which each page repeats, rows and a last row of sums; the first `left` columns are text, the others numbers."""
    from fpdf.enums import TableBordersLayout
    from fpdf.fonts import FontFace

    paper.set_font_size(_SMALL)
    paper.set_draw_color(170)
    marked = FontFace(fill_color=_LIGHT, emphasis="")
    aligned = ["LEFT" if column < left else "RIGHT" for column in range(len(widths))]
    with paper.table(
        col_widths=widths,
        width=_WIDTH,
        text_align=aligned,
        line_height=_LINE,
        padding=(0.7, 1),
        headings_style=marked,
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
    ) as table:
        for place, line in enumerate(lines):
            row = table.row(style=marked if place == len(lines) - 1 else None)
            # The words for all areas stand where code and name are.
            spans = left if place == len(lines) - 1 and left > 1 else 1
            row.cell(line[0], colspan=spans)
            for cell in line[spans:]:
                row.cell(cell)
