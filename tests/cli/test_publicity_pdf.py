"""The report as PDF, read by poppler, which shares no code with what wrote it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli import canned
from tests.cli.collector import PROGRAM, ROOT, Collector, Village, environment
from tests.peers import absent, peer
from village_cli.area_names import name_of, read_names
from village_cli.failures import Failure
from village_cli.fonts import faces_for
from village_cli.publicity_figures import Making
from village_cli.publicity_pdf import make

TOWNSHIP = "330110101000"
LONG = "这是一个名字特别特别长的村民委员会及其附属自然村落"
MADE = datetime(2026, 12, 2, 1, 0, tzinfo=UTC)
LIN = {"category": "law", "minutes": 5.25, "loudspeaker_minutes": 10.5, "plays": 3}
FIRE = {"category": "fire", "minutes": 0.04, "loudspeaker_minutes": 0.07, "plays": 1}


def area(code: str, *categories: dict[str, Any], loudspeakers: int = 2, heard: int = 1) -> dict[str, Any]:
    heard = heard if categories else 0
    return {"area": code, "loudspeakers": loudspeakers, "heard": heard, "categories": list(categories)}


def document(*areas: dict[str, Any]) -> dict[str, Any]:
    return {"schema": "village.publicity/1", "month": "2026-11", "areas": list(areas)}


@pytest.fixture
def font() -> Iterator[Path]:
    """A Chinese font of this machine."""
    try:
        yield faces_for("宣传播出", None)[0].path
    except Failure:
        absent("no Chinese font: apt-get install fonts-wqy-microhei")


def read(pdf: bytes, *options: str) -> str:
    words = [str(peer("pdftotext")), *options, "-", "-"]
    return subprocess.run(words, input=pdf, capture_output=True, check=True, timeout=20).stdout.decode()


def told(program: str, pdf: bytes) -> str:
    return subprocess.run([peer(program), "-"], input=pdf, capture_output=True, check=True, timeout=20).stdout.decode()


def lines(pdf: bytes) -> dict[str, list[str]]:
    """Rows of numbers by the area's code, as they stand on paper."""
    found = re.findall(r"^\s*([0-9]{12}\S*)\s+(.*)$", read(pdf, "-layout"), re.MULTILINE)
    return {code: re.sub(r"\s*/\s*", "/", rest).split() for code, rest in found}


def test_forty_areas_on_several_pages_say_what_the_document_says(font: Path) -> None:
    names = {f"3301101012{number:02}": LONG if number % 5 == 0 else f"{number}村" for number in range(40)}
    areas = [area(code, *([LIN] if number % 3 else []), *([FIRE] if number % 7 == 0 else [])) for number, code in enumerate(names)]  # fmt: skip
    pdf = make(document(*areas), Making(MADE, "wang", TOWNSHIP, {**names, TOWNSHIP: "仓前街道"}, "zh"), None)
    pages = read(pdf).split("\f")[:-1]
    assert len(pages) > 1
    for number, page in enumerate(pages, start=1):
        assert f"第 {number} 页，共 {len(pages)} 页" in page
        if re.search("[0-9]{12}", page):
            assert all(title in page for title in ("区域代码", "区域名称", "普法", "消防", "合计"))
    on_paper = lines(pdf)
    for one in areas:
        minutes = {entry["category"]: entry["minutes"] for entry in one["categories"]}
        shown = [minutes.get("law", 0), minutes.get("fire", 0), sum(minutes.values())]
        wanted = [f"{one['heard']}/2", *(f"{value:.2f}" if value else "0" for value in shown)]
        assert on_paper[one["area"]][-4:] == wanted, one
    text = re.sub(r"\s", "", "".join(pages))
    for name in {*names.values(), "仓前街道", "wang", "2026-11（北京时间）", "仅统计扬声器以回执确认的实际播出时长"}:
        assert name in text, name
    assert "本月未结束" not in text
    # 26 areas with law of which each has two loudspeakers, and six with fire.
    law, fire = sum(bool(i % 3) for i in range(40)), sum(i % 7 == 0 for i in range(40))
    tables = read(pdf, "-layout")
    assert re.search(rf"普法\s+{law}\s+{10.5 * law / 80:.2f}\s+{10.5 * law:.2f}\s+{3 * law}\n", tables)
    assert re.search(rf"消防\s+{fire}\s+{0.07 * fire / 80:.2f}\s+{0.07 * fire:.2f}\s+{fire}\n", tables)
    (embedded,) = told("pdffonts", pdf).splitlines()[2:]
    assert embedded.split()[-5:-2] == ["yes", "yes", "yes"], "embedded, a subset, readable as text"
    facts = told("pdfinfo", pdf)
    assert "A4" in facts
    assert "宣传播出月报 2026-11" in facts


def test_without_chinese_text_no_font_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    pdf = make(document(area(TOWNSHIP, LIN), area("330110101205-g01")), Making(MADE, "wang", None, {}, "en"), None)
    monkeypatch.undo()
    text = read(pdf)
    assert "Publicity report 2026-11" in text
    assert "Page 1 of 1" in text
    assert lines(pdf) == {TOWNSHIP: ["1/2", "5.25", "5.25"], "330110101205-g01": ["0/2", "0", "0"]}


_ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=300), st.lists(st.integers(), max_size=2)
)
_AREAS = st.lists(
    st.fixed_dictionaries(
        {
            "area": _ODD,
            "heard": _ODD,
            "loudspeakers": _ODD,
            "categories": st.lists(st.fixed_dictionaries(dict.fromkeys(LIN, _ODD)), max_size=13),
        }
    )
    | _ODD,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(month=_ODD, areas=_AREAS, language=st.sampled_from(["en", "zh"]))
def test_whatever_a_collector_answers_there_is_a_paper_or_a_reason(month: Any, areas: Any, language: Any) -> None:
    with contextlib.suppress(Failure):
        pdf = make({"month": month, "areas": areas}, Making(MADE, "wang", None, {}, language), None)
        assert pdf.startswith(b"%PDF-")


def test_a_month_that_is_not_over_is_called_so() -> None:
    now = datetime(2026, 11, 30, 15, 59, tzinfo=UTC)
    assert "not over yet" in read(make(document(), Making(now, "wang", None, {}, "en"), None))
    assert "No area has a loudspeaker" in read(make(document(), Making(now, "wang", None, {}, "en"), None))


def test_a_font_that_lacks_a_character_is_refused_with_its_name(font: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure) as refused:
        faces_for("宣\U000f0000", None)
    assert "\U000f0000" in refused.value.message.en
    assert "--font" in refused.value.advice.en
    with pytest.raises(Failure, match="lacks the characters \U000f0000"):
        faces_for("宣\U000f0000", font)
    for content in (b"", b"ttcf" + b"\xff" * 40, b"\0\1\0\0" + b"\xff" * 90):
        bad = tmp_path / "bad.ttf"
        bad.write_bytes(content)
        with pytest.raises(Failure, match="no font that can be embedded"):
            faces_for("a", bad)
    with pytest.raises(Failure, match="can't be read"):
        faces_for("a", tmp_path / "absent.ttf")


def test_a_machine_without_fonts_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("village_cli.fonts._WELL_KNOWN", ())
    monkeypatch.setattr("village_cli.fonts.sys.platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure) as refused:
        make(document(), Making(MADE, "wang", None, {}, "zh"), None)
    assert "fonts-wqy-microhei" in refused.value.advice.zh
    assert "--font FILE" in refused.value.advice.zh


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_names_come_from_a_table_as_offices_have_it(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "areas.csv"
    file.write_bytes(f"代码,名称\r\n330110101205,林家村\r\n\r\n{TOWNSHIP}, 仓前街道 ,x\r\n".encode(encoding))
    names = read_names(file)
    assert names == {"330110101205": "林家村", TOWNSHIP: "仓前街道"}
    assert [name_of(code, names) for code in ("330110101205-g02", "330110101206")] == ["林家村 g02", ""]


@pytest.mark.parametrize(
    ("content", "why"), [(b"a,b\n33011,x\n", "line 2"), (b"330110101205\n", "no name"), (b"\xff\xff\xff", "neither")]
)
def test_what_is_no_table_of_names_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / "areas.csv"
    file.write_bytes(content)
    with pytest.raises(Failure, match=why):
        read_names(file)


@pytest.fixture
def reporting(collector: Collector) -> Collector:
    collector.answers("GET", "/reports/publicity", document(area("330110101205", LIN)))
    collector.answers("GET", "/me", canned.ME)
    return collector


def test_the_command_saves_a_file_once(reporting: Collector, village: Village, tmp_path: Path, font: Path) -> None:
    file, names = tmp_path / "november.pdf", tmp_path / "areas.csv"
    names.write_text("330110101205,林家村\n")
    words = ("--lang", "zh", "report", "publicity", "--month", "2026-11", "--pdf", str(file), "--names", str(names))
    ended = village(*words)
    assert (ended.returncode, ended.stderr) == (0, "")
    content = file.read_bytes()
    assert f"已保存 {len(content)} 字节" in ended.stdout
    assert "林家村" in read(content)
    assert str(canned.ME["person"]) in read(content)
    reporting.requests.clear()
    again = village(*words)
    assert (again.returncode, "已存在" in again.stderr, file.read_bytes() == content) == (1, True, True)
    assert reporting.requests == []
    assert village(*words, "--force", "--font", str(font)).returncode == 0
    assert list(tmp_path.iterdir()) != []
    assert {path.name for path in tmp_path.iterdir()} == {"november.pdf", "areas.csv"}


def test_to_standard_output_and_only_one_form(reporting: Collector, village: Village) -> None:
    words = ["report", "publicity", "--month", "2026-11", "--pdf", "-"]
    shown = environment(reporting.url)
    run = subprocess.run([*PROGRAM, *words], env=shown, cwd=ROOT, capture_output=True, timeout=20, check=True)
    assert lines(run.stdout) == {"330110101205": ["1/2", "5.25", "5.25"]}
    two = village(*words, "--json")
    assert two.returncode == 2
    assert "one form" in json.loads(two.stderr)["detail"]


def test_names_stand_in_table_and_csv(reporting: Collector, village: Village, tmp_path: Path) -> None:
    names = tmp_path / "areas.csv"
    names.write_text("330110101205,林家村\n")
    words = ("report", "publicity", "--month", "2026-11", "--names", str(names))
    assert village(*words, "--csv").stdout.splitlines() == [
        "month,area,name,loudspeakers,heard,category,minutes,loudspeaker_minutes,plays",
        "2026-11,330110101205,林家村,2,1,law,5.25,10.5,3",
    ]
    assert village(*words).stdout.splitlines()[1].split()[:3] == ["330110101205", "林家村", "1/2"]
