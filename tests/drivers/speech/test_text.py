"""Texts are harmless, whole and cut where a speaker would pause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_drivers.speech.text import clean_text, split_text

#: Everything that JSON can bring, with more of what is difficult.
texts = st.text(
    st.one_of(
        st.characters(exclude_categories=()),
        st.sampled_from("[]v019d，。！？；：、,.!?\n\r\t \0村紧急通知㑇𠀀😀é\ud800\udc00"),
    ),
    max_size=600,
)
wides = st.sampled_from(["utf-16-be", "utf-16-le"])


@given(texts, st.integers(4, 240), wides)
def test_pieces_are_the_text_and_fit(text: str, limit: int, wide: str) -> None:
    clean = clean_text(text)
    pieces = split_text(clean, limit, wide)
    assert "".join(piece.text for piece in pieces) == clean
    for piece in pieces:
        data = piece.text.encode(piece.encoding)
        assert 0 < len(data) <= limit
        assert data.decode(piece.encoding) == piece.text


@given(texts)
def test_clean_text_has_nothing_to_execute(text: str) -> None:
    clean = clean_text(text)
    assert not set(clean) & set("[]\r\t\0\x1b")
    assert clean_text(clean) == clean
    clean.encode("utf-16-le")


@pytest.mark.parametrize(
    ("typed", "spoken"),
    [
        ("[v0]紧急通知", "［v0］紧急通知"),
        ("[d][m51]", "［d］［m51］"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\tb\0c", "a b c"),
        ("  好  ", "好"),
        ("\ud840\udc00", "𠀀"),
        ("\ud800x", "?x"),
        ("e\u0301", "é"),
        (" \n", ""),
    ],
)
def test_clean_text(typed: str, spoken: str) -> None:
    assert clean_text(typed) == spoken


@pytest.mark.parametrize(
    ("text", "limit", "pieces"),
    [
        ("", 10, []),
        ("今天下雨。明天晴。", 12, ["今天下雨。", "明天晴。"]),
        ("今天下雨，明天晴，后天雪", 12, ["今天下雨，", "明天晴，", "后天雪"]),
        ("他说：“走！”然后走了", 14, ["他说：“走！”", "然后走了"]),
        ("村村村村村村村", 6, ["村村村", "村村村", "村"]),
        ("turn left now", 7, ["turn ", "left ", "now"]),
        ("涨水3.14米，请10:30撤离", 12, ["涨水3.14米，", "请10:30撤离"]),
        ("共1,234,567人", 9, ["共1,234,", "567人"]),
        ("电话13800138000再见", 12, ["电话", "13800138000", "再见"]),
        ("unpronounceable", 8, ["unpronou", "nceable"]),
        ("Stop. Go on. Now", 9, ["Stop.", " Go on.", " Now"]),
        ("一行\n二行\n三行", 6, ["一行\n", "二行\n", "三行"]),
        ("𠀀𠀀𠀀", 8, ["𠀀𠀀", "𠀀"]),
    ],
)
def test_cuts(text: str, limit: int, pieces: list[str]) -> None:
    assert [piece.text for piece in split_text(text, limit, "utf-16-be")] == pieces


def test_only_pieces_that_need_it_are_wide() -> None:
    pieces = split_text("通知。㑇家村。谢谢。", 8, "utf-16-le")
    assert [(piece.text, piece.encoding) for piece in pieces] == [
        ("通知。", "gbk"),
        ("㑇家村。", "utf-16-le"),
        ("谢谢。", "gbk"),
    ]


def test_the_longest_command_is_cut_at_once() -> None:
    text = "请村民注意防汛" * 285
    assert "".join(piece.text for piece in split_text(text, 190, "utf-16-be")) == text
