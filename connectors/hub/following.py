"""A session elsewhere, folded by an engine here."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import numpy as np

from flowtape.connectors.hub.transport import InputsSource
from flowtape.stream.engine import Engine
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.live import LiveSession


class Following(LiveSession):
    """A live session whose inputs another one has numbered.

    The engine is told what the other one was told, in the same order, so both come to the same
    results. `keep` gets inputs before they are applied, as a session's sink does.
    """

    def __init__(
        self, source: InputsSource, engine: Engine, keep: Callable[[Inputs], None] | None = None
    ) -> None:
        super().__init__([], engine)
        self._source = source
        self._keep = keep
        self.input_count = 0
        """Inputs that came."""

    async def run(self) -> None:
        """Run until the hub has no more or the task is cancelled; then the stream ends here.

        When the hub is gone for good, the engine stands still and the screen says why.
        """
        self._loop = asyncio.get_running_loop()
        try:
            async with aclosing(self._source.inputs(self._engine.input + 1)) as pieces:
                async for inputs in pieces:
                    if self._keep is not None:
                        self._keep(inputs)
                    self._engine.apply_inputs(inputs)
                    self._note(inputs)
            self._end()
        except asyncio.CancelledError:
            self._end()
            raise
        except Exception as error:
            for view in self._engine.views:
                view.notice = f"halted: {error}"
            raise
        finally:
            self._ended = True

    def _end(self) -> None:
        if not self._engine.ended:
            self._engine.end()

    def _note(self, inputs: Inputs) -> None:
        self.input_count += len(inputs)
        self.trade_count += int(np.count_nonzero(inputs.kind == InputKind.TRADE))
        self.gap_count += int(np.count_nonzero(inputs.kind == InputKind.GAP))
        self._start_us = self._start_us or int(inputs.ts_us[np.argmax(inputs.ts_us > 0)])
        newest_us = int(inputs.ts_us.max())
        if newest_us:
            self._event_us, self._event_s = max(self._event_us, newest_us), self._now_s()
