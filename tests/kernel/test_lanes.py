"""What must hold between lanes, and however a stream is cut or taken up again."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.kernel import draws, drive
from tests.kernel.config import AccountKind, Config, FillModel, Tif

seeds = st.integers(0, 2**32 - 1)
cuts = st.lists(st.integers(1, 20), min_size=1, max_size=4)


def play(side: drive.Side, script: list[draws.Event]) -> list[object]:
    return [draws.act(side, event) for event in script]


def drawn(seed: int, length: int, **fixed: object) -> tuple[Config, list[draws.Event]]:
    rng = Random(seed)
    config = draws.config(rng, **fixed)
    script = draws.script(rng, length, len(config.markets))
    return config, [("trades", [(1000, 100, 10, 1, 0)]), *script]


def assert_never_kinder(kernel: drive.KernelSide) -> int:
    """After every single fill each lane has filled at most what the one left of it has."""
    filled: dict[int, list[int]] = {}
    for row in kernel.out["fills"]:
        order_id, qty, lane = row[2], row[4], row[10]
        lanes = filled.setdefault(order_id, [0, 0, 0])
        lanes[lane] += qty
        assert lanes[0] >= lanes[1] >= lanes[2], f"order {order_id}"
    return len(filled)


def free_account(rng: Random, **fixed: object) -> Config:
    fixed = {"lanes": draws.lane_settings(rng), **fixed}
    return draws.config(
        rng, account_kind=AccountKind.FREE, lane_count=3, fill_model=FillModel.QUEUED, **fixed
    )


@given(seeds)
def test_a_lane_never_fills_more_than_the_kinder_one_left_of_it(seed: int) -> None:
    """One order at a time that stands alone, amended in price and trigger only."""
    rng = Random(seed)
    config = free_account(rng)
    kernel, count = drive.KernelSide(config), len(config.markets)
    draws.act(kernel, ("trades", [(1000, 100, 10, 1, 0)]))
    for _ in range(5):
        asked = draws.alone(rng, 0, count)
        draws.act(kernel, ("place", 0, [asked]))
        for event in draws.script(rng, 15, count):
            if event[0] == "amend":
                draws.act(kernel, ("amend", 0, 1, 0, *event[4:]))
            elif event[0] not in ("place", "cancel"):
                draws.act(kernel, event)
        draws.act(kernel, ("cancel_all", 0, -1))
        draws.act(kernel, ("clock", 100))
    assert_never_kinder(kernel)


@given(seeds)
def test_nor_do_several_orders_of_one_side_that_share_prints(seed: int) -> None:
    """Without FOK, and with lanes that take from the same prints."""
    rng = Random(seed)
    own = rng.choice([0, 1])
    lanes = tuple(replace(lane, own_side_only=own) for lane in draws.lane_settings(rng))
    config = free_account(rng, lanes=lanes)
    kernel, count, side = drive.KernelSide(config), len(config.markets), rng.choice([1, -1])
    for event in draws.script(rng, 80, count):
        if event[0] == "place":
            asked = replace(draws.alone(rng, 0, count), side=side)
            tif = Tif.IOC if asked.time_in_force == Tif.FOK else asked.time_in_force
            draws.act(kernel, ("place", event[1], [replace(asked, time_in_force=tif)]))
        elif event[0] == "amend":
            draws.act(kernel, (*event[:3], 0, *event[4:]))
        else:
            draws.act(kernel, event)
    assert_never_kinder(kernel)


@given(seeds)
def test_the_base_lane_does_not_know_whether_the_others_are_on(seed: int) -> None:
    config, script = drawn(seed, 60, lane_count=3)
    both = [drive.KernelSide(c) for c in (config, replace(config, lane_count=1))]
    first, second = (play(side, script) for side in both)
    assert first == second
    assert both[0].decisions == both[1].decisions
    outs = [side.out for side in both]
    for box in outs[0]:
        if box.startswith(("bars", "bubbles")):
            assert outs[0][box] == outs[1][box]
    fills = [[row for row in out["fills"] if row[10] == 1] for out in outs]
    assert fills[0] == fills[1]
    equity = [[(*row[:6], *row[8:]) for row in out["equity"]] for out in outs]
    assert equity[0] == equity[1]
    assert both[0].account(1) == both[1].account(1)


@given(seeds, cuts, cuts)
def test_cutting_batches_changes_nothing(seed: int, some: list[int], other: list[int]) -> None:
    config, script = drawn(seed, 40)
    sides = [drive.KernelSide(config, cut) for cut in (some, other)]
    first, second = (play(side, script) for side in sides)
    assert first == second
    assert sides[0].out == sides[1].out
    assert sides[0].decisions == sides[1].decisions
    assert sides[0].kernel.save_state() == sides[1].kernel.save_state()


@given(seeds, st.integers(1, 40))
def test_a_saved_state_goes_on_like_the_original(seed: int, cut: int) -> None:
    config, script = drawn(seed, 60)
    original, copy = drive.KernelSide(config), drive.KernelSide(config)
    play(original, script[:cut])
    before = {box: len(rows) for box, rows in original.out.items()}
    copy.kernel.load_state(original.kernel.save_state())
    assert copy.kernel.save_state() == original.kernel.save_state()
    first, second = (play(side, script[cut:]) for side in (original, copy))
    assert first == second
    assert {box: rows[before[box] :] for box, rows in original.out.items()} == copy.out
    assert copy.kernel.save_state() == original.kernel.save_state()
