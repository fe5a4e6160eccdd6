"""What a strategy remembers comes back as it was; whatever else the bytes say is refused."""

import random
import socket
import subprocess
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.memory import MemoryDamagedError, NotPlainError, recall, remember
from tests.stream.keepsakes import (
    VALUES,
    Dying,
    Gambler,
    Keeper,
    Level,
    Made,
    Node,
    Other,
    OwnList,
    Pair,
    Wide,
    lock,
)
from tests.stream.likeness import alike, graphs
from tests.stream.tapes import INSTRUMENT, make_columns


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back(name: str) -> None:
    strategy = Keeper(kept=VALUES[name])
    data = remember(strategy)
    again = recall(data, Keeper())
    assert again is not strategy
    assert alike(again, strategy)
    assert remember(again) == data


def test_sets_come_back() -> None:
    sets = {1, "a", (2, None)}, frozenset({3, frozenset({4})}), set(), {Level(1), Level(2)}
    again: Any = recall(remember(Keeper(kept=sets)), Keeper())
    assert again.kept == sets
    assert [type(one) for one in again.kept] == [type(one) for one in sets]


def test_the_order_of_dicts_stays() -> None:
    kept = {key: None for key in random.Random(5).sample(range(1000), 1000)}
    again: Any = recall(remember(Keeper(kept=kept, zebra=1, aardvark=2)), Keeper())
    assert list(again.kept) == list(kept)
    assert list(vars(again)) == ["kept", "zebra", "aardvark"]


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_chance_goes_on_where_it_was(kind: str) -> None:
    bits = getattr(np.random, kind)(np.random.SeedSequence([5, 2**70], spawn_key=(1, 2)))
    strategy: Any = Keeper(one=np.random.Generator(bits), bits=bits, plain=random.Random(3))
    strategy.other = np.random.Generator(bits)
    strategy.one.integers(0, 10, dtype=np.int32)
    strategy.one.spawn(3)
    strategy.plain.gauss()
    data = remember(strategy)
    again: Any = recall(data, Keeper())
    assert remember(again) == data
    for made in (strategy, again):
        made.drawn = [
            made.plain.gauss(),
            made.plain.random(),
            made.one.random(),
            made.other.random(),
        ]
        made.drawn += [*made.one.integers(0, 10, 3, dtype=np.int32), made.one.spawn(1)[0].random()]
    assert again.drawn == strategy.drawn
    assert again.one.bit_generator is again.other.bit_generator is again.bits


def test_what_is_shared_stays_shared() -> None:
    shared: list[object] = [1]
    strategy: Any = Keeper(one=shared, other=shared, equal=[1], rows=(shared, {"x": shared}))
    strategy.self = strategy
    shared.append(strategy.rows)
    again: Any = recall(remember(strategy), Keeper())
    assert again.one is again.other is again.rows[0] is again.rows[1]["x"]
    assert again.equal is not again.one
    assert again.one[1] is again.rows
    assert again.self is again


def test_keys_that_lead_back_to_their_dict() -> None:
    node = Node("x")
    node.book[node] = [node]
    for strategy in (Keeper(node=node), Keeper(book=node.book, node=node)):
        again: Any = recall(remember(strategy), Keeper())
        assert again.node.book[again.node] == [again.node]
        assert next(iter(again.node.book)) is again.node


def test_a_row_of_tuples_that_lead_to_their_neighbours() -> None:
    last: Any = ([],)
    first = last
    for _ in range(5_000):
        new: Any = (last, [])
        last[-1].append(new)
        last = new
    again: Any = recall(remember(Keeper(first=first)), Keeper())
    count, at = 0, again.first
    while at[-1]:
        assert at[-1][0][0] is at
        count, at = count + 1, at[-1][0]
    assert count == 5_000


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: [inner],
        lambda inner: (inner,),
        lambda inner: {"x": inner},
        lambda inner: Level(1, inner),
        lambda inner: [deque([inner])],
    ],
)
def test_depth_has_no_limit(wrap: Callable[[object], object]) -> None:
    deep: object = None
    for _ in range(20_000):
        deep = wrap(deep)
    data = remember(Keeper(deep=deep))
    assert remember(recall(data, Keeper())) == data


def test_a_class_within_a_function_remembers() -> None:
    class Inner(Keeper):
        pass

    again: Any = recall(remember(Inner(x=1, kind=Inner)), Inner())
    assert (again.x, again.kind) == (1, Inner)
    with pytest.raises(MemoryDamagedError, match="this is not what a Other remembered"):
        recall(remember(Keeper()), Other())


@given(graphs())
def test_graphs_come_back(kept: object) -> None:
    strategy = Keeper(kept=kept, again=kept)
    data = remember(strategy)
    again = recall(data, Keeper())
    assert alike(again, strategy)
    assert remember(again) == data


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (lock(), "self.kept: a lock cannot be kept; keep plain values"),
        ([1, {"a": (0, lock())}], "self.kept[1]['a'][1]: a lock cannot be kept"),
        ({1: 2, lock(): 3}, "self.kept.keys()[1]: a lock cannot be kept"),
        ({lock()}, "self.kept[0]: a lock cannot be kept"),
        (Level(1, Pair(None, lock())), "self.kept.more.second: a lock cannot be kept"),
        (Node("x").__hash__, "self.kept: a method Node.__hash__ cannot be kept"),
        (lambda: None, "self.kept: a function "),
        (len, "self.kept: a builtin_function_or_method len cannot be kept"),
        (defaultdict(Node), "self.kept: a defaultdict of a type Node cannot be kept"),
        (np.array([None]), "self.kept: an array of objects cannot be kept"),
        (np.zeros(1, np.longdouble), "self.kept: an array of "),
        (np.random.RandomState(1), "self.kept: a RandomState cannot be kept"),
        (np.ma.array([1]), "self.kept: a MaskedArray cannot be kept"),
        (
            datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            "self.kept: a time of another zone",
        ),
        (timezone(timedelta(hours=1)), "self.kept: a time zone other than UTC"),
        (OwnList([1]), "self.kept: an OwnList cannot be kept"),
        (Made(), "self.kept: a Made cannot be kept"),
        (Dying(), "self.kept: a Dying cannot be kept"),
        (Wide(5), "self.kept: a Wide of unknown flags cannot be kept"),
        (int, "self.kept: the class int cannot be kept"),
        (subprocess.Popen, "self.kept: the class Popen cannot be kept"),
        (1j, "self.kept: a complex cannot be kept"),
        (range(3), "self.kept: a range cannot be kept"),
        (ValueError("x"), "self.kept: a ValueError cannot be kept"),
        ((n for n in range(2)), "self.kept: a generator "),
    ],
)
def test_what_cannot_be_kept_is_named(kept: object, said: str) -> None:
    with pytest.raises(NotPlainError) as caught:
        remember(Keeper(fine=1, kept=kept))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_socket_is_named() -> None:
    with (
        socket.socket() as one,
        pytest.raises(NotPlainError, match=r"^self\.client\.more: a socket"),
    ):
        remember(Keeper(client=Level(1, one)))


def test_the_engine_is_not_kept() -> None:
    engine = Engine(INSTRUMENT, EngineConfig())
    with pytest.raises(NotPlainError, match=r"^self\.market\._kernel: a Kernel cannot be kept"):
        remember(Keeper(market=engine.market))


def test_keys_of_many_parts_are_refused() -> None:
    for key in (tuple(range(2_000)), Level(1, tuple(range(2_000)))):
        for kept in ({key: 1}, {key}, frozenset([key])):
            with pytest.raises(NotPlainError, match=r"^self\.x: a key of more than 1,000 parts"):
                remember(Keeper(x=kept))


def test_chains_of_deques_are_refused() -> None:
    deep: deque[Any] = deque()
    for _ in range(100):
        deep = deque([deep])
    with pytest.raises(NotPlainError, match="deques right within one another"):
        remember(Keeper(kept=deep))


@pytest.mark.parametrize("at", [0, 1, 2_345])
def test_a_strategy_goes_on_as_if_nothing_had_happened(at: int) -> None:
    columns = make_columns(6_000, 7)
    digests = []
    for interrupted in (False, True):
        engine = Engine(INSTRUMENT, EngineConfig(), Gambler())
        engine.apply(columns.slice(0, at))
        if interrupted:
            assert engine.strategy is not None
            recalled = recall(remember(engine.strategy), Gambler(seed=9))
            engine.take_up(engine.standing(), recalled)
        engine.apply(columns.slice(at, len(columns)))
        engine.end()
        assert engine.ledger.fills.head > 100
        digests.append(engine.digest())
    assert digests[0] == digests[1]
