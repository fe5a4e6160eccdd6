"""Bytes that are not what a strategy remembered: refused, or a strategy; nothing runs."""

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.stream.memory import MemoryDamagedError, recall, remember
from tests.stream.keepsakes import (
    RAN,
    VALUES,
    Keeper,
    Loud,
)


def bytes_of(*nodes: object, version: object = 1) -> bytes:
    return json.dumps({"nodes": nodes, "version": version}).encode()


ROOT = ["object", ["x"], [], [0], [1]]
KEEPER = ["class", ".", "Keeper"]
SEED = ["0", [], 4, 0]


def forked(depth: int) -> list[object]:
    """A dict, whose key is a tuple that holds another one twice, and so on."""
    pairs = [["tuple", [at], [at]] for at in range(3, 3 + depth)]
    return [KEEPER, ["dict", [2], 1], *pairs, ["tuple", 1], ROOT]


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "no text": b"\xff\xfe",
    "no JSON": b"{",
    "a number": b"1",
    "nothing in it": b"{}",
    "no nodes": bytes_of(),
    "another version": bytes_of(KEEPER, version=2),
    "deep": b"[" * 100_000,
    "deep in a node": b'{"version":1,"nodes":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a constant": b'{"version":1,"nodes":[["list",NaN]]}',
    "a huge float": b'{"version":1,"nodes":[["list",1e999]]}',
    "a long number": b'{"version":1,"nodes":[["list",' + b"9" * 10_000 + b"]]}",
    "another kind": bytes_of(KEEPER, ["socket"], ROOT),
    "no class": bytes_of(["class", ".", "Nobody"], ["list"], ROOT),
    "an imported class": bytes_of(KEEPER, ["class", ".", "Instrument"], ROOT),
    "a class of Python": bytes_of(KEEPER, ["class", "subprocess", "Popen"], ROOT),
    "a class of a class of Python": bytes_of(KEEPER, ["class", "builtins", "object"], ROOT),
    "a function": bytes_of(KEEPER, ["class", ".", "lock"], ROOT),
    "no module": bytes_of(KEEPER, ["class", "flowtape.nowhere", "X"], ROOT),
    "a dunder": bytes_of(KEEPER, ["class", ".", "Keeper.__class__"], ROOT),
    "an object of no class": bytes_of(KEEPER, ["list"], ["object", [], [], [1]]),
    "an object that is made": bytes_of(["class", ".", "Made"], ["object", [], [], [0]]),
    "an object that dies": bytes_of(["class", ".", "Dying"], ["object", [], [], [0]]),
    "an object of another class": bytes_of(["class", ".", "Other"], ["list"], ROOT),
    "an enumeration as a class": bytes_of(["class", ".", "Mood"], ["object", [], [], [0]]),
    "too few values": bytes_of(KEEPER, ["list"], ["object", ["x", "y"], [], [0], 1]),
    "a name twice": bytes_of(KEEPER, ["object", ["x", "x"], [], [0], 1, 2]),
    "a name that is none": bytes_of(KEEPER, ["object", [1], [], [0], 1]),
    "attributes of slots": bytes_of(
        KEEPER, ["class", ".", "Level"], ["object", ["x"], [], [1], 1], ROOT
    ),
    "no such slot": bytes_of(KEEPER, ["object", [], ["x"], [0], 1]),
    "a reference below": bytes_of(KEEPER, ["list", [-1]], ROOT),
    "a reference beyond": bytes_of(KEEPER, ["list", [3]], ROOT),
    "a reference to a truth": bytes_of(KEEPER, ["list", [True]], ROOT),
    "a reference to two": bytes_of(KEEPER, ["list", [0, 1]], ROOT),
    "a reference to a text": bytes_of(KEEPER, ["list", ["0"]], ROOT),
    "a dict as a value": bytes_of(KEEPER, ["list", {}], ROOT),
    "a long text as a value": bytes_of(KEEPER, ["list", "x" * 65], ROOT),
    "a large number as a value": bytes_of(KEEPER, ["list", 2**60], ROOT),
    "a tuple of itself": bytes_of(KEEPER, ["tuple", [1]], ROOT),
    "tuples of each other": bytes_of(
        KEEPER, ["tuple", [2]], ["tuple", [1]], ["object", [], [], [0]]
    ),
    "a list as a key": bytes_of(KEEPER, ["dict", [2], 1], ["list"], ROOT),
    "a key twice": bytes_of(KEEPER, ["dict", 1, 2, True, 3], ROOT),
    "an element twice": bytes_of(KEEPER, ["set", 1, 1.0], ROOT),
    "a key without a value": bytes_of(KEEPER, ["dict", 1], ROOT),
    "a key that takes forever": bytes_of(*forked(60)),
    "a key that is deep": bytes_of(*forked(600)),
    "deep deques": bytes_of(
        KEEPER, ["deque", None], *(["deque", None, [n]] for n in range(1, 100_000)), ROOT
    ),
    "deep deques upward": bytes_of(
        KEEPER, *(["deque", None, [n + 2]] for n in range(100_000)), ["deque", None], ROOT
    ),
    "a deque beyond its end": bytes_of(KEEPER, ["deque", 1, 1, 2], ROOT),
    "a deque longer than memory": bytes_of(KEEPER, ["deque", 2**70], ROOT),
    "another factory": bytes_of(KEEPER, ["defaultdict", "open"], ROOT),
    "a long array": bytes_of(KEEPER, ["array", "<i8", [10**9], ""], ROOT),
    "a long array of nothing": bytes_of(KEEPER, ["array", "|V0", [10**9], ""], ROOT),
    "an array without end": bytes_of(KEEPER, ["array", "<i8", [2**62, 2**62], ""], ROOT),
    "an array of objects": bytes_of(KEEPER, ["array", "|O", [1], "AAAAAAAAAAA="], ROOT),
    "a record of objects": bytes_of(
        KEEPER, ["array", ["record", 8, [["a", 0, "|O"]]], [1], "AAAAAAAAAAA="], ROOT
    ),
    "a record beyond itself": bytes_of(
        KEEPER, ["array", ["record", 8, [["a", 7, "<i8"]]], [1], "AAAAAAAAAAA="], ROOT
    ),
    "a number in a list of them": bytes_of(KEEPER, ["scalar", "<i8", [1], "AAAAAAAAAAA="], ROOT),
    "a character that is none": bytes_of(KEEPER, ["scalar", "<U1", [], "/////w=="], ROOT),
    "no base 64": bytes_of(KEEPER, ["bytes", "?"], ROOT),
    "a member that is none": bytes_of(KEEPER, ["enum", [2], "RAIN"], ["class", ".", "Mood"], ROOT),
    "a member of no enumeration": bytes_of(KEEPER, ["enum", [0], "x"], ROOT),
    "flags that are none": bytes_of(KEEPER, ["enum", [2], 8], ["class", ".", "Marks"], ROOT),
    "flags that decide": bytes_of(KEEPER, ["enum", [2], 3], ["class", ".", "OddFlags"], ROOT),
    "a pair of three": bytes_of(KEEPER, ["namedtuple", [2], 1, 2, 3], ["class", ".", "Pair"], ROOT),
    "a pair that is none": bytes_of(KEEPER, ["namedtuple", [0], 1], ROOT),
    "a fraction of nothing": bytes_of(KEEPER, ["fraction", "1", "0"], ROOT),
    "a fraction to shorten": bytes_of(KEEPER, ["fraction", "2", "4"], ROOT),
    "a decimal that is none": bytes_of(KEEPER, ["decimal", "one"], ROOT),
    "month thirteen": bytes_of(KEEPER, ["date", 2026, 13, 1], ROOT),
    "too much time": bytes_of(KEEPER, ["timedelta", 10**12, 0, 0], ROOT),
    "few words of chance": bytes_of(KEEPER, ["random", [1, 2], None], ROOT),
    "chance beyond its words": bytes_of(KEEPER, ["random", [0] * 624 + [625], None], ROOT),
    "numpy's chance beyond its words": bytes_of(
        KEEPER, ["bits", "MT19937", [["0"] * 624, ["271"]], *SEED], ROOT
    ),
    "numpy's chance of too much": bytes_of(
        KEEPER, ["bits", "PCG64", [["f" * 33], ["1"], ["0"], ["0"]], *SEED], ROOT
    ),
    "another chance": bytes_of(KEEPER, ["bits", "RandomState", [], *SEED], ROOT),
    "a pool without end": bytes_of(
        KEEPER, ["bits", "PCG64", [["0"], ["1"], ["0"], ["0"]], "0", [], 2**40, 0], ROOT
    ),
    "a generator of nothing": bytes_of(KEEPER, ["list"], ["generator", [1]], ROOT),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused(name: str) -> None:
    RAN.clear()
    with pytest.raises(MemoryDamagedError) as caught:
        recall(HOSTILE[name], Keeper())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert RAN == []


def test_reading_runs_nothing_of_a_class() -> None:
    RAN.clear()
    data = bytes_of(KEEPER, ["class", ".", "Loud"], ["object", ["guarded"], [], [1], 5], ROOT)
    nodes = json.loads(data)["nodes"]
    nodes[-1] = ["object", ["x"], [], [0], [2]]
    again: Any = recall(bytes_of(*nodes), Keeper())
    assert type(again.x) is Loud
    assert vars(again.x) == {"guarded": 5}
    assert RAN == []


def rich() -> Keeper:
    shared: list[object] = [1, 2.5, "x", None]
    kept = {name: value for name, value in VALUES.items() if name not in ("numbers", "floats")}
    shared.append(kept)
    return Keeper(shared=shared, kept=kept, some={1, 2}, rng=random.Random(1))


RICH = remember(rich())


@given(st.data())
def test_changed_bytes_are_refused_or_a_strategy(data: st.DataObject) -> None:
    changed = bytearray(RICH)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        new = data.draw(st.sampled_from([b"", b"0", b"9", b"[", b"]", b",", b'"', b"-", b"\xff"]))
        changed[at : at + data.draw(st.integers(0, 3))] = new
    refused_or_strategy(bytes(changed))


@given(st.integers(0, 2**32))
def test_changed_trees_are_refused_or_a_strategy(seed: int) -> None:
    rng = random.Random(seed)
    told = json.loads(RICH)
    for _ in range(rng.randint(1, 5)):
        branches = [one for node in told["nodes"] for one in lists_of(node)]
        one, other = rng.choice(branches), rng.choice(branches)
        odd = [None, True, -1, 2**53, 0.5, "", "list", [], [rng.randrange(300)], {}, "x" * 99]
        at = rng.randrange(len(one)) if one else 0
        one[at : at + rng.randint(0, 1)] = [rng.choice([*odd, copy.deepcopy(other)])]
    refused_or_strategy(json.dumps(told).encode())


def lists_of(node: list[Any]) -> list[list[Any]]:
    return [node, *(inner for one in node if isinstance(one, list) for inner in lists_of(one))]


def refused_or_strategy(data: bytes) -> None:
    try:
        again = recall(data, Keeper())
    except MemoryDamagedError:
        return
    assert type(again) is Keeper
    remember(again)
