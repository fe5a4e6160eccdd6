"""Play seeds: `python -m tests.connectors.simulation [--seed N | --count N [--first N]]`."""

import argparse
import sys
from collections.abc import Sequence

from tests.connectors.simulation.judge import complaints
from tests.connectors.simulation.play import Outcome, play
from tests.connectors.simulation.scenario import draw


def main(arguments: Sequence[str]) -> int:
    """Replay one seed with its log, or play many and name those that fail."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args(arguments)
    if given.seed is not None:
        return replay(given.seed)
    failed = 0
    for seed in range(given.first, given.first + given.count):
        found = complaints(play(draw(seed)))
        if found:
            failed += 1
            say(f"seed {seed} failed; replay it with: make sim SEED={seed}")
            for complaint in found[:3]:
                say(f"    {complaint[:300]}")
    say(f"{given.count} seeds, {failed} failed")
    return min(failed, 1)


def replay(seed: int) -> int:
    """Play one seed twice; print what happened and what is wrong with it."""
    scenario = draw(seed)
    outcome, again = play(scenario), play(scenario)
    for line in scenario.told():
        say(line)
    for at_s, text in _without_many_clocks(outcome):
        say(f"{at_s:10.3f} s  {text}")
    found = complaints(outcome)
    if outcome.digest != again.digest:
        found.append(f"another digest the second time: {again.digest}")
    say(f"{outcome.statistics}")
    say(f"digest {outcome.digest}")
    for complaint in found:
        say(f"WRONG: {complaint}")
    return min(len(found), 1)


def _without_many_clocks(outcome: Outcome) -> list[tuple[float, str]]:
    lines: list[tuple[float, str]] = []
    for line in outcome.log:
        if not (lines and line[1].startswith("-> clock") and lines[-1][1].startswith("-> clock")):
            lines.append(line)
    return lines


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
