"""The commands of an engine where they stand: in its ledger and in the session that is kept."""

from collections.abc import Callable

import numpy as np

from flowtape._kernel import Kernel
from flowtape.stream.commands import CommandKind, DiffersError, Origin, calls_of, repeat
from flowtape.stream.errors import KernelError
from flowtape.stream.ledger import Ledger
from flowtape.stream.recording import Recording
from flowtape.stream.records import COMMAND, Records


class CommandBook:
    """Takes in what was asked of a kernel, in order.

    `at_input` returns the kernel's last input, `deciding` whether its strategy is at work. People's
    commands are durable before they are done with; the strategy's wait for `write`.
    """

    def __init__(
        self,
        kernel: Kernel,
        ledger: Ledger,
        recording: Recording | None,
        *,
        at_input: Callable[[], int],
        deciding: Callable[[], bool],
    ) -> None:
        self.place = (0, 0)
        """The last input that commands followed, and how many did."""
        self._kernel = kernel
        self._ledger = ledger
        self._recording = recording
        self._at_input = at_input
        self._deciding = deciding

    def places_behind(self, at_input: int) -> int:
        """Return how many commands followed an input, if it is the last."""
        return self.place[1] if self.place[0] == at_input else 0

    def keep(self, kind: CommandKind, ts_us: int, order_ids: list[int], requests: Records) -> None:
        """Take in a command that was done, a row for each of its orders."""
        at_input = self._at_input()
        self.place = (at_input, self.places_behind(at_input) + 1)
        commands = np.zeros(len(order_ids), COMMAND)
        commands["input"], commands["place"] = self.place
        commands["kind"] = kind
        commands["origin"] = Origin.STRATEGY if self._deciding() else Origin.PERSON
        commands["ts_us"], commands["order_id"], commands["request"] = ts_us, order_ids, requests
        self._ledger.append("commands", commands)
        if self._recording is not None:
            self._recording.keep(commands)
            if not self._deciding():
                self._recording.write(durable=True)

    def write(self) -> None:
        """Have the session write what waits."""
        if self._recording is not None:
            self._recording.write(durable=False)

    def repeat(self, commands: Records) -> None:
        """Do again what stands behind the present input; raises DiffersError where that fails."""
        for call in calls_of(commands):
            try:
                repeat(self._kernel, call)
            except KernelError as error:
                raise DiffersError(
                    f"behind input {int(call[0]['input'])} a recorded command was refused: {error}"
                ) from None
        self.place = (int(commands[-1]["input"]), int(commands[-1]["place"]))
        self._ledger.append("commands", commands)
