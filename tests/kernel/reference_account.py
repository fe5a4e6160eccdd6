"""The slow model's accounts: one lane's money and positions, and the fee tiers."""

from dataclasses import dataclass, field

from tests.kernel.config import DAY_US, PPB, PPM, AccountKind, Config, Role
from tests.kernel.reference import ceil_div

TIER_DAYS = 30


@dataclass
class Position:
    lots: int = 0
    cost: int = 0
    margin: int = 0
    bought: int = 0
    sold: int = 0


@dataclass
class Fees:
    """Own notional of the base lane by UTC day, and the rates that follow from it."""

    config: Config
    days: dict[int, int] = field(default_factory=dict)

    def add(self, stream_us: int, atoms: int) -> None:
        day = stream_us // DAY_US
        self.days[day] = self.days.get(day, 0) + atoms

    def ppb(self, stream_us: int, role: Role) -> int:
        today = stream_us // DAY_US
        own = sum(atoms for day, atoms in self.days.items() if day >= today - TIER_DAYS)
        tier = [t for t in self.config.fee_tiers if t.from_atoms <= own][-1]
        return tier.maker_ppb if role == Role.MAKER else tier.taker_ppb

    def of(self, stream_us: int, atoms: int, role: Role) -> int:
        unit = self.config.fee_unit_atoms
        return ceil_div(atoms * self.ppb(stream_us, role), PPB * unit) * unit


@dataclass
class Account:
    """One lane's books."""

    config: Config
    cash: int = 0
    realized: int = 0
    fees: int = 0
    funding: int = 0
    positions: list[Position] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cash = self.config.initial_cash_atoms
        self.positions = [Position() for _ in self.config.markets]

    def notional(self, market: int, price: int, qty: int) -> int:
        return price * qty * self.config.markets[market].atoms_per_ticklot

    def value(self, marks: list[int]) -> int:
        return sum(self.notional(m, marks[m], p.lots) for m, p in enumerate(self.positions))

    def equity(self, marks: list[int]) -> int:
        return self.cash + self.value(marks)

    def unrealized(self, marks: list[int]) -> int:
        return self.value(marks) - sum(p.cost for p in self.positions)

    @property
    def wallet_free(self) -> int:
        """Isolated accounts: the wallet less the margins locked."""
        return self.cash + sum(p.cost - p.margin for p in self.positions)

    def opposite(self, market: int, side: int) -> int:
        """Lots that an order of this side could close."""
        return max(0, -side * self.positions[market].lots)

    def fill(self, market: int, side: int, price: int, qty: int, fee: int) -> None:
        position = self.positions[market]
        closed = min(qty, self.opposite(market, side))
        if closed:
            held = abs(position.lots)
            removed = abs(position.cost) * closed // held * (1 if position.cost > 0 else -1)
            position.cost -= removed
            position.margin -= position.margin * closed // held
            self.realized += -side * self.notional(market, price, closed) - removed
        opened = self.notional(market, price, qty - closed)
        position.cost += side * opened
        if self.config.account_kind == AccountKind.ISOLATED:
            position.margin += ceil_div(opened, self.config.markets[market].leverage)
        self._move(position, side, qty)
        self.cash -= side * self.notional(market, price, qty) + fee
        self.fees += fee

    def is_bankrupt(self, market: int, mark: int) -> bool:
        position = self.positions[market]
        if not position.lots:
            return False
        value = self.notional(market, mark, position.lots)
        maintenance = ceil_div(abs(value) * self.config.markets[market].maintenance_ppm, PPM)
        return position.margin + value - position.cost <= maintenance

    def liquidate(self, market: int) -> tuple[int, int, int]:
        """Lose the margin exactly; returns side, price and lots of the closing."""
        position = self.positions[market]
        side, lots = (-1 if position.lots > 0 else 1), abs(position.lots)
        flow = position.cost - position.margin
        self.cash += flow
        self.realized -= position.margin
        position.cost = position.margin = 0
        self._move(position, side, lots)
        return side, abs(flow) // self.notional(market, 1, lots), lots

    def fund(self, market: int, mark: int, rate_ppb: int) -> None:
        value = self.notional(market, mark, self.positions[market].lots)
        unit = self.config.fee_unit_atoms
        paid = ceil_div(value * rate_ppb, PPB * unit) * unit
        self.cash -= paid
        self.funding += paid

    def _move(self, position: Position, side: int, qty: int) -> None:
        position.lots += side * qty
        if side > 0:
            position.bought += qty
        else:
            position.sold += qty

    def check(self) -> None:
        cost = sum(p.cost for p in self.positions)
        start = self.config.initial_cash_atoms
        assert self.cash == start + self.realized - cost - self.fees - self.funding
        assert all(p.lots == p.bought - p.sold for p in self.positions)
