"""The report of publicity as an office hands it in: A4, the areas over as many pages as they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from village_cli.failures import Failure
from village_cli.publicity_figures import Making, Report
from village_wire.language import Bilingual

if TYPE_CHECKING:
    from fpdf import FPDF

    from village_cli.fonts import Face

#: Millimetres.
_MARGIN, _LINE, _WIDTH = 15.0, 4.6, 180.0
_CODE, _LOUDSPEAKERS, _NUMBER = 28.0, 18.0, 12.8
#: Points.
_BODY, _SMALL, _TITLE, _HEAD = 9.0, 7.8, 16.0, 11.0
_GREY, _LIGHT = (110, 110, 110), (232, 236, 241)


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
    report = Report.read(document, making)
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


def _choose_font(paper: FPDF, faces: Sequence[Face]) -> None:
    for place, face in enumerate(faces):
        paper.add_font(f"face{place}", fname=face.path, collection_font_number=face.number)
    if faces:
        paper.set_font("face0")
        paper.set_fallback_fonts([f"face{place}" for place in range(1, len(faces))])
    else:
        paper.set_font("helvetica")


def _head(paper: FPDF, report: Report) -> None:
    paper.set_font_size(_TITLE)
    paper.cell(w=0, h=12, text=f"{report.say('title')} {report.month}", align="C", new_x="LMARGIN", new_y="NEXT")
    paper.set_font_size(_BODY)
    for name, value in report.facts():
        paper.set_text_color(*_GREY)
        paper.cell(w=_CODE, h=_LINE + 1, text=name)
        paper.set_text_color(0)
        paper.multi_cell(w=_WIDTH - _CODE, h=_LINE + 1, text=value, align="L", new_x="LMARGIN", new_y="NEXT")


def _by_area(paper: FPDF, report: Report) -> None:
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


def _by_category(paper: FPDF, report: Report) -> None:
    if report.categories:
        _together(paper, (len(report.categories) + 4) * (_LINE + 2))
        _heading(paper, report.say("by_category"))
        _table(paper, report.category_table(), (36, 36, 40, 40, 28), left=1)


def _end(paper: FPDF, report: Report) -> None:
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
