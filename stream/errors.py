"""Every error flowtape raises on purpose.

FlowError
├── InputError            what a person gave us cannot be used: a file, a flag, an order
│   ├── OffGridError      a number that does not lie on the instrument's decimal grid
│   └── TapeError         a tape folder that is missing, newer than us, or damaged
├── KernelError           the native kernel refused a call; state is untouched
└── SourceError           a market data source failed
"""


class FlowError(Exception):
    """Base of all flowtape errors; its text is one line for people: what, where, what to do."""


class InputError(FlowError):
    """Something a person gave cannot be used."""


class OffGridError(InputError):
    """A number does not lie on the decimal grid of its instrument."""


class TapeError(InputError):
    """A tape cannot be opened or written."""


class KernelError(FlowError):
    """The kernel refused a call and left its state untouched.

    Attributes:
        status: name of the kernel status, for example `CAPACITY`.
    """

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


class SourceError(FlowError):
    """A source of market data failed for good."""
