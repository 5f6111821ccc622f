"""Every decoder, on everything that was ever found worth keeping, and on some hundred new inputs each time."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attack import corpus
from tests.attack.decoders import DECODERS
from tests.attack.decoders.kit import Decoder
from tests.attack.mutation import mutate
from tests.attack.watch import run

#: More of them where there is time: VILLAGE_FUZZ=20 makes twenty times as many.
_TIMES = int(os.environ.get("VILLAGE_FUZZ", "1"))

each_decoder = pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)


@each_decoder
def test_the_valid_is_decoded_to_the_same_thing_before_and_after_the_corpus(decoder: Decoder) -> None:
    before = [run(decoder, seed) for seed in decoder.seeds]
    assert all(outcome.accepted for outcome in before)
    for data in corpus.load(decoder):
        run(decoder, data)
    again = decoder.seeds[:3] if decoder.slow else decoder.seeds
    assert [run(decoder, seed) for seed in again] == before[: len(again)]


@each_decoder
def test_new_inputs_raise_nothing_but_documented_refusals_and_change_nothing(decoder: Decoder) -> None:
    kept = [*decoder.seeds, *corpus.load(decoder)]
    before = run(decoder, decoder.seeds[0])

    @settings(
        max_examples=_TIMES * (12 if decoder.slow else 200),
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(random=st.randoms(use_true_random=True))
    def attack(random: Random) -> None:
        run(decoder, mutate(random, kept, decoder.form, decoder.max_bytes))

    attack()
    assert run(decoder, decoder.seeds[0]) == before


def test_the_corpus_stays_small_and_belongs_to_decoders() -> None:
    assert corpus.size() <= corpus.MAX_BYTES
    assert {folder.name for folder in corpus.FOLDER.iterdir()} <= set(DECODERS)
