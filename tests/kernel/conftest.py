"""Desks, so that every hand-worked rule is asked of kernel and model; builds of the C kernel."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel import c_builds, drive
from tests.kernel.c_builds import Builds
from tests.kernel.config import Config
from tests.kernel.desk import Desk, plain_config

MakeDesk = Callable[..., Desk]


@pytest.fixture(scope="session")
def builds() -> Builds:
    folder = c_builds.ROOT / "build" / "kernel-tests"
    folder.mkdir(parents=True, exist_ok=True)
    made = Builds(folder)
    made.forget_old()
    return made


@pytest.fixture(params=["kernel", "model"])
def desk(request: pytest.FixtureRequest) -> MakeDesk:
    """Makes desks: `desk(config)`, or `desk(**changes)` of the plain configuration."""

    def make(config: Config | None = None, **more: Any) -> Desk:
        config = plain_config(**more) if config is None else config
        if request.param == "kernel":
            return Desk(drive.KernelSide(config))
        return Desk(drive.ModelSide(config))

    return make
