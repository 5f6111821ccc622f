"""The choice of a language."""

from __future__ import annotations

from village_wire.language import choose_language


def test_the_choice_of_a_language() -> None:
    assert choose_language(None, {}) == "en"
    assert choose_language("zh", {"VILLAGE_LANG": "en"}) == "zh"
    assert choose_language(None, {"VILLAGE_LANG": "zh", "LC_ALL": "C"}) == "zh"
    assert choose_language(None, {"LC_ALL": "en_GB.UTF-8", "LANG": "zh_CN.UTF-8"}) == "en"
    assert choose_language(None, {"LC_ALL": "", "LANG": "zh_CN.UTF-8"}) == "zh"
    assert choose_language(None, {"LANG": "C"}) == "en"
