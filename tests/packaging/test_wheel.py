"""The wheel holds flowtape and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("stream", "connectors", "replay", "dashboards", "cli")


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("wheel")
    maturin = shutil.which("maturin", path=str(Path(sys.executable).parent))
    assert maturin, "maturin belongs to the development tools"
    subprocess.run(
        [maturin, "build", "--release", "--quiet", "--out", str(out)],
        cwd=ROOT,
        check=True,
        timeout=600,
    )
    (wheel,) = out.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.timeout(900)
def test_wheel_holds_just_the_package(wheel_names: set[str]) -> None:
    expected = {"flowtape/__init__.py", "flowtape/py.typed", "flowtape/_kernel.pyi"}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                expected.add(f"flowtape/{path.relative_to(ROOT).as_posix()}")
    named = {n for n in wheel_names if ".dist-info/" not in n and not n.startswith("flowtape.")}
    extension = {n for n in named if n.startswith("flowtape/_kernel.") and n.endswith(".so")}
    assert len(extension) == 1
    assert named - extension == expected
