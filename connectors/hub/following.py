"""A session elsewhere, folded by an engine here."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import numpy as np

from flowtape.connectors.hub.transport import InputsSource, tell_nobody
from flowtape.stream.engine import Engine
from flowtape.stream.errors import SourceError
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.live import LiveSession


class Following(LiveSession):
    """A live session whose inputs another one has numbered.

    The engine is told what the other one was told, in the same order, so both come to the same
    results. `keep` gets inputs before they are applied, as a session's sink does; what is kept ends
    only when the other session does, so that it can be gone on with. An engine that had some before
    goes on behind them; `last` is the last one it had, which must be the other session's too.
    """

    def __init__(
        self,
        source: InputsSource,
        engine: Engine,
        keep: Callable[[Inputs], None] | None = None,
        last: Inputs | None = None,
    ) -> None:
        super().__init__([], engine)
        self._source = source
        self._keep = keep
        self._last = last
        self._told = ""
        self.say: Callable[[str], None] = tell_nobody
        """Gets what the screen says too: a line when nothing comes, an empty one when it does."""
        source.tell = self._tell
        self.input_count = 0
        """Inputs that came."""

    async def run(self) -> None:
        """Run until the hub has no more or the task is cancelled; then the stream ends here.

        When the hub is gone for good, the engine stands still and the screen says why.
        """
        self._loop = asyncio.get_running_loop()
        try:
            first = self._engine.input + (self._last is None)
            async with aclosing(self._source.inputs(first)) as pieces:
                async for piece in pieces:
                    inputs = self._behind_last(piece)
                    if not len(inputs):
                        continue
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

    def _tell(self, line: str) -> None:
        for view in self._engine.views:
            if line or view.notice == self._told:
                view.notice = line
        self._told = line
        self.say(line)

    def _end(self) -> None:
        if self._keep is None and not self._engine.ended:
            self._engine.end()

    def _behind_last(self, inputs: Inputs) -> Inputs:
        """Return inputs without the one that was had before, if it is the same."""
        if self._last is None:
            return inputs
        had, self._last = self._last, None
        pairs = zip(had.columns(), inputs.columns(), strict=True)
        if not all(before[0] == now[0] for before, now in pairs):
            raise SourceError(
                f"the session that is watched has another input {self._engine.input:,} than was "
                "had of it: its disk lost some; start anew without --resume"
            )
        return inputs.slice(1, len(inputs))

    def _note(self, inputs: Inputs) -> None:
        self.input_count += len(inputs)
        self.trade_count += int(np.count_nonzero(inputs.kind == InputKind.TRADE))
        self.gap_count += int(np.count_nonzero(inputs.kind == InputKind.GAP))
        self._start_us = self._start_us or int(inputs.ts_us[np.argmax(inputs.ts_us > 0)])
        newest_us = int(inputs.ts_us.max())
        if newest_us:
            self._event_us, self._event_s = max(self._event_us, newest_us), self._now_s()
