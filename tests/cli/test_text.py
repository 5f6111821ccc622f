from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import village_cli
from village_cli.text import WORDS, word

SOURCES = list(Path(village_cli.__file__).parent.glob("*.py"))


def test_every_word_is_in_both_languages_with_the_same_places() -> None:
    for key, both in WORDS.items():
        places = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in both]
        assert places[0] == places[1], key
        assert all(both), key
        if key != "count":
            assert re.search("[\u4e00-\u9fff，；]", both.zh), key


def test_every_word_that_is_asked_for_by_name_exists() -> None:
    asked = [
        node.args[0].value
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"word", "named"}
        and isinstance(node.args[0], ast.Constant)
    ]
    assert len(asked) > 20
    assert [key for key in asked if key not in WORDS] == []


def test_a_word_of_a_later_version_is_shown_as_it_is() -> None:
    assert word("melted", "zh") == "melted"
