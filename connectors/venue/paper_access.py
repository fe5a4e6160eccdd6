"""Who may ask for what on a paper account: queries signed with its keys, in time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flowtape.connectors.binance.markets import MarketApi
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_endpoints import SIGNED_FIELDS, SignedEndpoint
from flowtape.connectors.venue.paper_keys import PaperKeys, check_time, socket_messages
from flowtape.connectors.venue.paper_sent import missing
from flowtape.connectors.venue.queries import BadQueryError, Query

CALL_FIELDS = frozenset({"apiKey", "returnRateLimits"})


@dataclass(frozen=True, slots=True)
class PaperAccess:
    """What is checked before anything is answered, and what queries are made of.

    `clock_us` is the venue's time, `wall_us` the wall clock; what is signed is dated by either.
    """

    keys: PaperKeys
    listings: Mapping[str, Listing]
    api: MarketApi
    clock_us: Callable[[], int]
    wall_us: Callable[[], int]

    def query(self, values: Mapping[str, str], unit_us: int) -> Query:
        """Return a query of some parameters."""
        return Query(values, self.listings, self.api, self.clock_us(), unit_us)

    def check_query(
        self, endpoint: SignedEndpoint, values: Mapping[str, str], signed: bytes
    ) -> None:
        """Refuse a query over REST that is not signed as it must be; its key was checked."""
        self._check_values(endpoint.reads | SIGNED_FIELDS, values)
        self.keys.check_signature(values["signature"], signed)

    def check_call(self, reads: frozenset[str], values: Mapping[str, str]) -> None:
        """Refuse a call over a WebSocket that is not signed as it must be."""
        self.keys.check_key(values.get("apiKey", ""))
        self._check_values(reads | SIGNED_FIELDS | CALL_FIELDS, values)
        self.keys.check_signature(values["signature"], *socket_messages(values))

    def _check_values(self, reads: frozenset[str], values: Mapping[str, str]) -> None:
        for name, value in values.items():
            if not value:
                raise BadQueryError(-1105, f"Parameter '{name}' was empty.")
        for name in ("signature", "timestamp"):
            if name not in values:
                raise missing(name)
        read = len(reads & set(values))
        if read < len(values):
            raise BadQueryError(
                -1104,
                f"Not all sent parameters were read; read '{read}' parameter(s) but was sent "
                f"'{len(values)}'.",
            )
        check_time(values, self.clock_us(), self.wall_us())


def unit_us_of(unit: str) -> int:
    """Return the unit of times that a client asks for, in microseconds."""
    return 1 if unit in ("MICROSECOND", "microsecond") else 1_000
