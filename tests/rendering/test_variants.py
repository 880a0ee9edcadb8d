"""The pairwise cover of variants, which all rendering tests use, is complete and small."""

from itertools import combinations

from support.variants import all_combinations, is_asked, pairwise_cover, questions


def test_the_cover_has_every_compatible_pair_of_choices() -> None:
    covered = {pair for variant in pairwise_cover() for pair in combinations(variant.items, 2)}
    wanted = {pair for variant in all_combinations() for pair in combinations(variant.items, 2)}
    assert sorted(map(repr, wanted - covered)) == []


def test_the_cover_is_small() -> None:
    assert len(pairwise_cover()) <= 40


def test_a_variant_answers_exactly_the_questions_that_are_asked() -> None:
    for variant in pairwise_cover():
        asked = [name for name in questions() if is_asked(name, variant.answers)]
        assert list(variant.answers) == asked
