"""Mistakes put into the kernel are noticed: the most telling of each subject are judged anew.

RESULTS.md tells the same of all; `python -m tests.kernel.mutants.lab --write` judges them.
"""

import pytest

from tests.kernel.c_builds import KERNEL, ROOT
from tests.kernel.mutants.lab import Lab, missing, mutated, rows_kept
from tests.kernel.mutants.table import MUTANTS

TELLING = (
    # Arrival and latency
    *("active-at-once", "late-print-fills", "cancel-too-early", "one-latency-for-all-legs"),
    # Shares of a print, and who comes first
    *("share-rounded-down", "budget-not-shared", "price-priority-dropped", "rank-ignored"),
    *("sides-swapped", "takers-by-id"),
    # The queue, the touch, levels
    *("queue-reached-one-early", "shrunk-order-requeues", "stale-touch-kept"),
    # Instructions and triggers
    *("fok-partial", "trailing-too-tight", "sibling-not-reduced"),
    # Money
    *("fee-rounded-down", "cost-share-of-lots", "liquidation-one-atom-late", "funding-sign"),
    *("reduce-only-unclamped", "spot-pays-no-fee"),
    # Order flow
    *("bar-end-inclusive-in-runs", "bubble-window-in-runs", "imbalance-straight-across"),
    *("exhaustion-by-equal-volume",),
    # Batches, calls and saved states
    *("check-skips-last-row", "group-half-placed", "state-forgets-funding"),
    *("state-loads-any-head",),
)
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    if missing():
        pytest.skip(f"{missing()} is not installed")
    return Lab(tmp_path_factory.mktemp("mutants"), ROOT / "target" / "mutants")


def test_every_mutant_still_fits_the_kernel() -> None:
    assert len(BY_NAME) == len(MUTANTS)
    for mutant in MUTANTS:
        text = (KERNEL / "src" / mutant.file).read_text()
        assert mutated(mutant, text) != text


def test_the_results_are_of_these_mutants_and_all_were_noticed() -> None:
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows_kept().values()]
    assert [row[:3] for row in rows] == [[m.name, m.file, m.breaks] for m in MUTANTS]
    for name, _, _, _, *reasons in rows:
        assert {*reasons} - {"", "-"}, name


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TELLING)
def test_the_mistake_is_noticed(name: str, lab: Lab) -> None:
    verdict = lab.judge(BY_NAME[name])
    assert verdict.reason, f"no test that knows why notices that {verdict.mutant.breaks}"
