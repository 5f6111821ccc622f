from __future__ import annotations

import re
import string
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from village_wire.reasons import MAX_CHARACTERS, phrasebook, told
from village_wire.reasons.phrasebook import sentences
from village_wire.reasons.template import parse

#: Pieces of which sentences and what joins them are made, and what breaks them.
_PIECES = st.sampled_from(
    [
        *(piece for sentence in sentences() for piece in re.split(r"\{[^}]*\}", sentence.en) if piece),
        *("; ", ": ", ", ", " (", ")", "{", "}", "{0}", "%s", "7", "\0", "\u2028", "喇叭", " "),
    ]
)


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        ("no such device", "没有该设备"),
        ("No such file or directory", "没有那个文件或目录"),
        ("expired: /dev/ttyUSB0: unit 3 does not answer", "已过期：/dev/ttyUSB0：从站 3 无应答"),
        ("emergency goes first", "紧急优先"),
        (
            "amplifier drew 0.10 A, 0.09 A idle: it was silent or without power",
            "功放电流 0.10 A，静态 0.09 A：没有声音或没有供电",
        ),
        (
            "2 sentences: chip accepted 1 frame, busy 2.0 s, then idle; chip accepted 3 frames, busy 2.1 s, then idle",
            "2 句：语音芯片接受了 1 帧，忙 2.0 秒后空闲；语音芯片接受了 3 帧，忙 2.1 秒后空闲",
        ),
        (
            "0.40 s of live voice, 20 packets, 0.02 s lost, 0.10 s behind the fastest packet; played 2.30 s in 2.31 s on pulse:a",
            "实时语音 0.40 秒，20 个数据包，丢失 0.02 秒，比最快的数据包晚 0.10 秒；在 pulse:a 上用 2.31 秒播放了 2.30 秒",
        ),
        (
            "chime not heard, too noisy to tell (likeness 0.31, noise -20 dB, usually -30 dB)",
            "未听到提示音，环境太吵无法判断（相似度 0.31，噪声 -20 dB，通常 -30 dB）",
        ),
        (
            "stopped working 3 times in 60 s, now down: no packet for 5 s",
            "60 秒内 3 次停止工作，当前故障：5 秒没有数据包",
        ),
        ("the reader refuses a secure channel (NAK 5)", "读卡器拒绝安全通道（NAK 5）"),
        (
            "played 1.00 s in 1.01 s on the snapcast stream village, 2 of 3 clients connected, missing: away, muted: west",
            "在 Snapcast 流 village 上用 1.01 秒播放了 1.00 秒，已连接 2/3 个客户端，缺失：away，静音：west",
        ),
        ("coil 16: exception 2 (illegal address)", "线圈 16：异常 2（非法地址）"),
        # A comma joins reasons, and stands in sentences of people.
        ("wrong village, alert", "wrong village, alert"),
        # What nobody knows stays, also beside what is known.
        ("frobnicated", "frobnicated"),
        ("frobnicated; no such device", "frobnicated；没有该设备"),
        ("gate-1", "gate-1"),
        ("", ""),
    ],
)
def test_a_reason_in_chinese(text: str, chinese: str) -> None:
    assert told(text, "zh") == chinese
    assert told(text, "en") == text


def test_a_sentence_stands_once_and_has_the_same_places_in_both_languages() -> None:
    known = [sentence.en for sentence in sentences()]
    assert sorted(known) == sorted(set(known))
    for sentence in sentences():
        english, chinese = (
            [name.removeprefix("*") for _, name, _, _ in string.Formatter().parse(text) if name is not None]
            for text in sentence
        )
        assert sorted(english) == sorted(chinese), sentence.en
        assert len(set(english)) == len(english), sentence.en
        assert all(english), sentence.en


def test_no_two_places_touch_since_nobody_could_tell_where_one_ends() -> None:
    for sentence in sentences():
        if "{" in sentence.en:
            assert all(parse(sentence).literals[1:-1]), sentence.en


def test_every_sentence_has_a_word_of_its_own_by_which_it_is_found() -> None:
    for sentence in sentences():
        if "{" in sentence.en:
            assert parse(sentence).words, sentence.en


def test_a_thousand_rows_take_no_longer_than_a_moment() -> None:
    rows = [f"/dev/ttyUSB{number}: unit {number} does not answer" for number in range(1000)]
    phrasebook.chinese("x")
    began = time.process_time()
    assert all("无应答" in phrasebook.chinese(row) for row in rows)
    assert time.process_time() - began < 1.0


def test_every_sentence_is_translated_from_its_own_example() -> None:
    for sentence in sentences():
        if "{" in sentence.en:
            template = parse(sentence)
            values = dict.fromkeys(template.places, "x7")
            text = "x7".join(template.literals)
            assert template.match(text) == values, sentence.en
            assert told(text, "zh") != text, sentence.en
        else:
            assert told(sentence.en, "zh") == sentence.zh


@settings(deadline=None)
@given(st.lists(_PIECES, max_size=60).map("".join) | st.text(max_size=200))
def test_any_text_is_told(text: str) -> None:
    assert told(text, "en") == text
    assert isinstance(told(text, "zh"), str)


@pytest.mark.parametrize(
    "piece", [": ", "; ", ", ", " (", ")", "a: b; c, d (e) ", "expired: ", "0 s ", "{x}", "waits "]
)
@pytest.mark.parametrize("end", ["", ")", " A", ": x"])
def test_a_hostile_text_takes_no_longer_than_a_moment(piece: str, end: str) -> None:
    text = (piece * MAX_CHARACTERS)[: MAX_CHARACTERS - len(end)] + end
    phrasebook.chinese("x")
    began = time.process_time()
    phrasebook.chinese(text)
    assert time.process_time() - began < 0.5


def test_a_text_over_the_limit_is_shown_as_it_is() -> None:
    text = "no such device; " * MAX_CHARACTERS
    assert told(text, "zh") == text


def test_english_loads_no_sentences() -> None:
    code = "import sys; from village_wire.reasons import told; told('a', 'en'); print('village_wire.reasons.phrasebook' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
