"""What stands on the paper of a publicity report: facts, tables and words, without any layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from village_cli.area_names import name_of
from village_cli.documents import number, rows, text
from village_cli.failures import Failure
from village_cli.safety import safe
from village_cli.text import word
from village_cli.times import local
from village_wire.language import Bilingual, Language

#: Months are of China's time, which knows no summer time.
_CHINA = timezone(timedelta(hours=8))
#: The order in which categories stand; others follow.
_CATEGORIES = ("anti_fraud", "law", "weather", "fire", "news", "music", "other")
#: More columns than this don't fit on the paper.
_MAX_CATEGORIES = 12
#: No code, month or category that is one is longer; nor is a number of the report greater (a year has 526,000 minutes).
_MAX_TEXT, _MAX_NUMBER = 40, 10.0**9

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
        "Only what loudspeakers confirmed by a receipt counts: the time for which they sounded, not what was sent or planned; "
        "and only broadcasts that were given a category. "
        "The minutes of an area are the mean of its loudspeakers; one that stayed silent counts with 0. Areas below are rows of "
        "their own and are not contained in those above. Counted are the loudspeakers installed at the time of making, and those "
        "that were heard in the month. Plays are plays on a loudspeaker, interrupted ones included.",
        "仅统计扬声器以回执确认的实际播出时长，不含仅下发或计划的内容，也不含未指定类别的播报。区域时长为该区域全部扬声器的平均值，"
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


@dataclass(frozen=True, slots=True)
class _Row:
    """An area: code, name, loudspeakers that were heard and all, and minutes by category (mean, sum, plays)."""

    code: str
    name: str
    heard: int
    loudspeakers: int
    categories: Mapping[str, tuple[float, float, int]]


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of all areas. `categories` are those that were heard anywhere, in the order of their columns."""

    making: Making
    month: str
    rows: Sequence[_Row]
    categories: Sequence[str]

    @classmethod
    def read(cls, document: Mapping[str, Any], making: Making) -> Report:
        """Read a `village.publicity/1`; raises `Failure` if it has more categories than a page has room for."""
        found = [_row(area, making.names) for area in rows(document, "areas")]
        there = {category for row in found for category in row.categories}
        if len(there) > _MAX_CATEGORIES:
            raise Failure(
                Bilingual(f"{len(there)} categories don't fit on A4.", f"{len(there)} 个类别超出 A4 页面。"),
                Bilingual("Take --csv.", "请使用 --csv。"),
            )
        known = [category for category in _CATEGORIES if category in there]
        return cls(making, _text(document, "month"), found, [*known, *sorted(there.difference(known))])

    def say(self, key: str, **places: object) -> str:
        """Return a text in the reader's language."""
        return _TEXTS[key].of(self.making.language).format(**places)

    def category(self, category: str) -> str:
        """Return what a category is called."""
        return word(f"category_{category}", self.making.language).removeprefix("category_")

    @property
    def loudspeakers(self) -> int:
        """Those of all areas."""
        return sum(row.loudspeakers for row in self.rows)

    def facts(self) -> list[tuple[str, str]]:
        """What stands at the head: names and values."""
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
        """Return the minutes of all loudspeakers together."""
        return sum(row.categories[category][1] for row in self.rows if category in row.categories)

    def texts(self) -> Iterable[str]:
        """All that is to be printed, so that fonts can be chosen by it."""
        yield from (both.of(self.making.language) for both in _TEXTS.values())
        yield "0123456789"
        yield from (part for fact in self.facts() for part in fact)
        yield from (cell for line in (*self.area_table(), *self.category_table()) for cell in line)


def _row(area: Mapping[str, Any], names: Mapping[str, str]) -> _Row:
    code = _text(area, "area")
    found = {
        _text(one, "category"): (_number(one, "minutes"), _number(one, "loudspeaker_minutes"), int(_number(one, "plays")))
        for one in rows(area, "categories")
    }  # fmt: skip
    counts = int(_number(area, "heard")), int(_number(area, "loudspeakers"))
    return _Row(code or "-", name_of(code, names), *counts, found)


def _text(row: Mapping[str, Any], name: str) -> str:
    return safe(text(row, name)[:_MAX_TEXT])


def _number(row: Mapping[str, Any], name: str) -> float:
    return min(max(number(row.get(name)) or 0.0, 0.0), _MAX_NUMBER)


def _shown(minutes: float) -> str:
    return f"{minutes:.2f}" if minutes else "0"
