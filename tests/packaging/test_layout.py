"""The house rules that no linter knows."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("stream", "connectors", "replay", "dashboards", "cli")

MAY_IMPORT = {
    "stream": {"stream"},
    "connectors": {"connectors", "stream"},
    "replay": {"replay", "stream"},
    "dashboards": {"dashboards", "stream"},
    "cli": set(PACKAGES),
}


def imported_packages(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            assert top not in PACKAGES, f"{path} imports {name}: write flowtape.{name}"
            if top == "flowtape":
                found.add(rest.partition(".")[0])
    return found & set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        extra = imported_packages(path) - MAY_IMPORT[package]
        assert not extra, f"{path.relative_to(ROOT)} imports {extra}"


def test_the_check_sees_a_violation(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from flowtape.replay import tapes\n")
    assert imported_packages(bad) - MAY_IMPORT["dashboards"] == {"replay"}


def test_packages_are_reached_through_flowtape_only() -> None:
    for package in PACKAGES:
        link = ROOT / "crates/flowtape-py/python/flowtape" / package
        assert link.is_symlink()
        assert link.resolve() == ROOT / package
