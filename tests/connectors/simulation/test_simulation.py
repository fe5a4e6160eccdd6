"""The live client through seeds of trouble; `make sim SEED=n` replays one with its log."""

import pytest

from tests.connectors.simulation.judge import complaints
from tests.connectors.simulation.mutants import MUTANTS, broken
from tests.connectors.simulation.play import Outcome, play
from tests.connectors.simulation.scenario import LINE_KINDS, REST_KINDS, draw

SLICE = 20


def wrong(seeds: range) -> dict[str, list[str]]:
    found = {f"make sim SEED={seed}": complaints(play(draw(seed))) for seed in seeds}
    return {command: said for command, said in found.items() if said}


@pytest.mark.parametrize("first", range(0, 200, SLICE))
def test_every_id_comes_once_or_lies_in_a_gap_that_had_to_be(first):
    assert wrong(range(first, first + SLICE)) == {}


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(200, 2_200, 200))
def test_two_thousand_seeds(first):
    assert wrong(range(first, first + 200)) == {}


def told(outcome: Outcome) -> list[str]:
    return [f"{at_s:.6f} {text}" for at_s, text in outcome.log]


@pytest.mark.parametrize("seed", range(300, 308))
def test_a_seed_plays_the_same_twice(seed):
    one, other = play(draw(seed)), play(draw(seed))
    assert told(one) == told(other)
    assert one.digest == other.digest


@pytest.mark.parametrize("name", MUTANTS)
def test_broken_clients_are_caught_by_the_first_fifty_seeds(name):
    with broken(name):
        assert any(complaints(play(draw(seed))) for seed in range(50))


def test_the_first_seeds_meet_every_kind_of_trouble():
    scenarios = [draw(seed) for seed in range(200)]
    faults = {type(fault).__name__ for scenario in scenarios for fault in scenario.faults}
    assert faults >= {"Abort", "Close", "Delay", "Drop", "Duplicate", "Garble", "Shutdown", "Stall"}
    assert {scenario.instrument.market for scenario in scenarios} == {"spot", "um"}
    assert {trouble.kind for scenario in scenarios for trouble in scenario.rest} == set(REST_KINDS)
    assert {trouble.kind for scenario in scenarios for trouble in scenario.line} == set(LINE_KINDS)
