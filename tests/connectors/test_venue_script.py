"""Fault scripts, and what docs/VENUE.md says of them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from flowtape.connectors.venue.fault_script import Rules, read_script
from flowtape.connectors.venue.faults import Drop, Fault, GarbleKind, Halt, RestFault
from flowtape.stream.errors import InputError

GUIDE = Path(__file__).parents[2] / "docs" / "VENUE.md"


def test_a_script_is_read(tmp_path):
    path = tmp_path / "faults.json"
    path.write_text(
        '{"rules": {"ping_s": 30, "scaled": true, "weight_per_minute": 100},\n'
        ' "faults": [{"type": "drop", "from_id": "+5", "to_id": 1010},\n'
        '            {"type": "halt", "at": "+7", "symbol": "ETHUSDT"},\n'
        '            {"type": "rest", "status": 429, "retry_after_s": 2}]}'
    )
    with pytest.raises(InputError, match="line 2: fault 1: symbol must say whose ids"):
        read_script(path, {"BTCUSDT": 1_000, "ETHUSDT": 50})
    path.write_text(path.read_text().replace('"+5"', '"+5", "symbol": "BTCUSDT"'))
    script = read_script(path, {"BTCUSDT": 1_000, "ETHUSDT": 50})
    assert script.faults == (
        Drop(1_005, 1_010, symbol="BTCUSDT"),
        Halt(57, symbol="ETHUSDT"),
        RestFault(429, retry_after_s=2),
    )
    rules = script.rules.connection_rules("spot", speed=10.0)
    assert (rules.ping_s, rules.pong_s, rules.lifetime_s) == (3.0, 6.0, 8_640.0)
    assert (rules.messages_per_s, script.rules.weight_per_minute) == (5, 100)
    assert script.rules.connection_rules("um", speed=1.0).messages_per_s == 10
    with pytest.raises(InputError, match="scaled rules need a --speed"):
        script.rules.connection_rules("spot", speed=float("inf"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "line 1: Input data was truncated"),
        ('[\n{"type":\n "abort" "at": 1}]', "line 3: JSON is malformed"),
        ("7", "line 1: Expected `object`"),
        ('[{"at": 1}]', "fault 1: type must be one of abort, backdate, close"),
        ('[\n\n{"type": "abort"}]', "line 3: fault 1: Object missing required field at"),
        ('[{"type": "abort", "at": 1, "when": 2}]', "unknown field when"),
        ('[{"type": "abort", "at": -1}]', "fault 1: Expected int >= 0 for at"),
        ('[{"type": "close", "at": 1, "code": 7}]', "Expected int >= 1000 for code"),
        ('[{"type": "garble", "at": 1, "how": "oddly"}]', "Invalid enum value 'oddly' for how"),
        ('[{"type": "drop", "from_id": 9, "to_id": 3}]', "from_id is behind to_id"),
        ('[{"type": "abort", "at": 1, "symbol": "X"}]', "symbol 'X' is not served"),
        ('{"rules": {"pings": 1}}', "line 1: rules: Object contains unknown field pings"),
        ('{\n"faults": [],\n"rules": {"ping_s": 0}}', "line 3: rules: Expected float > 0.0"),
        ('{"fault": []}', "line 1: Object contains unknown field fault"),
    ],
)
def test_mistakes_in_a_script_are_named_with_their_line(tmp_path, text, said):
    path = tmp_path / "faults.json"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        read_script(path, {"BTCUSDT": 1_000})
    assert str(refused.value).startswith(f"{path} ")
    assert said.replace("`", "") in str(refused.value)


def test_the_guide_names_every_fault_with_its_fields():
    rows = dict(re.findall(r"^\| `(\w+)` \| (`.*?) \|", GUIDE.read_text(), re.MULTILINE))
    kinds = {kind.__struct_config__.tag: kind for kind in get_args(Fault)}
    assert rows.keys() == kinds.keys()
    for tag, kind in kinds.items():
        fields = [name for name in kind.__struct_fields__ if name != "symbol"]
        assert re.findall(r"`(\w+)`", rows[tag]) == fields, tag
        made = kind(*[0] * (len(kind.__struct_fields__) - len(kind.__struct_defaults__)))
        for name, said in re.findall(r'`(\w+)` "?([\w.]+)"?', rows[tag]):
            default = getattr(made, name)
            shown = f"{default:g}" if isinstance(default, float) else json.dumps(default)
            assert said == shown.strip('"'), (tag, name)


def test_the_guide_names_every_rule_and_every_broken_frame():
    text = GUIDE.read_text()
    for name in (*Rules.__struct_fields__, *get_args(GarbleKind)):
        assert f"`{name}`" in text, name


def test_the_scripts_example_is_read(tmp_path):
    (source,) = re.findall(r"```json\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    path = tmp_path / "faults.json"
    path.write_text(source)
    script = read_script(path, {"BTCUSDT": 7})
    assert script.faults[0] == Drop(1_007, 1_027)
    assert script.rules.connection_rules("spot", 1_440.0).lifetime_s == 2.5


def test_the_guides_python_runs():
    (source,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.split("\n")[:2] == ["[1000, 1002]", "65000.01000000"], done.stderr
