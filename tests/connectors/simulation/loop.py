"""An event loop whose clock jumps to the next timer, over a network in memory."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.connectors.simulation.network import Network

STILL_MAX = 200_000
"""So many rounds without time passing are a program that turns in a circle."""


class StuckError(Exception):
    """Nothing will ever happen again, or nothing but the same."""


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop without sockets: what waits for time waits for nothing.

    Connections are made by `network`, which must be set before the first one.
    """

    network: "Network"

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self._now_s = 1_000.0
        self._still = 0

    def time(self) -> float:
        return self._now_s

    def leap(self, seconds: float) -> None:
        """Let time pass at once, as when the machine sleeps or is too busy to run us."""
        self._now_s += seconds

    def select(self, timeout: float | None) -> list[Any]:
        """Take the place of a selector: wait by moving the clock."""
        if timeout is None:
            raise StuckError("everything waits, and for nothing that will come")
        self._still = 0 if timeout > 0 else self._still + 1
        if self._still > STILL_MAX:
            raise StuckError("the clock stands still while work goes on")
        self._now_s += timeout
        return []

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str | None = None,
        port: int | None = None,
        *,
        sock: Any = None,
        **_: Any,
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        dialed = sock if sock is not None else await self.network.dial(port or 0, "stream")
        return self.network.join(dialed, protocol_factory)

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.Protocol], *_: Any, **__: Any
    ) -> Any:
        return self.network.listen(protocol_factory)

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass
