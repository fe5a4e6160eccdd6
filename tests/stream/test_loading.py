import pytest

from flowtape.stream.errors import InputError
from flowtape.stream.loading import load_strategy, parameters_of
from tests.stream.strategies import Flipper

HERE = "tests.stream.strategies"


def test_by_module_and_by_file_with_typed_settings() -> None:
    by_module = load_strategy(f"{HERE}:Flipper", ["every=7", "eager=yes"])
    assert isinstance(by_module, Flipper)
    assert (by_module.every, by_module.eager) == (7, True)
    by_file = load_strategy("examples/delta_divergence.py:DeltaDivergence", ["qty=0.5"])
    assert parameters_of(by_file) == {"span_s": 120, "hold_s": 60, "qty": "0.5"}


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("Flipper", [], "write package.module:Class"),
        (f"{HERE}:", [], "write package.module:Class"),
        (f"{HERE}:Nothing", [], "has no Nothing; it has Flipper, Broken"),
        (f"{HERE}:NotAStrategy", [], "is not a subclass"),
        ("no.such.module:X", [], "cannot be imported: ModuleNotFoundError"),
        ("no/such/file.py:X", [], "there is no file no/such/file.py"),
        (f"{HERE}:Flipper", ["every=lots"], "parameter every must be int, was 'lots'"),
        (f"{HERE}:Flipper", ["eager=perhaps"], "parameter eager must be bool"),
        (f"{HERE}:Flipper", ["evry=3"], "has no parameter 'evry'; it has every, eager"),
        (f"{HERE}:Flipper", ["every"], "--set takes key=value"),
    ],
)
def test_mistakes_are_named(name: str, settings: list[str], text: str) -> None:
    with pytest.raises(InputError, match=None) as caught:
        load_strategy(name, settings)
    assert text in str(caught.value)
