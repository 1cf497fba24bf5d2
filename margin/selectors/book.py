"""The book as the engine takes it: open positions of a firm and the market they are computed against, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from margin.engine.rules import RULES, UnknownRule, rule_index
from margin.engine.tiers import Ladder, TierError, TierRow, build_tiers, check_ladder, ladder_of
from margin.engine.types import INVERSE, LINEAR, QUANTO, Float, Int8, Int16, Int32, Int64, Positions, Tiers
from margin.models import Tier
from portfolios.models import Instrument

log = structlog.get_logger(__name__)

Moments = NDArray[np.datetime64]
KINDS = {"linear": LINEAR, "inverse": INVERSE, "quanto": QUANTO}
TIER_FIELDS = ("tier", "floor", "cap", "rate", "amount", "max_leverage")
# A binary array: dimensions, whether there is a NULL, type, length, lower bound; then length and bytes of each.
ARRAY_HEADER, HAS_NULL = 20, 7
# Name, numpy type on the wire, SQL.
COLUMNS = (
    ("id", ">i8", "p.id"),
    ("client_id", ">i8", "p.client_id"),
    ("version", ">i4", "p.version"),
    ("instrument_id", ">i8", "p.instrument_id"),
    ("side", ">i2", "(CASE p.side WHEN 'long' THEN 1 WHEN 'short' THEN -1 END)::int2"),
    ("contracts", ">f8", "p.quantity::float8"),
    ("entry_price", ">f8", "p.entry_price::float8"),
    ("wallet", ">f8", "p.isolated_wallet::float8"),
)
ARRAYS = ", ".join(f"array_agg({expression})" for _, _, expression in COLUMNS)
# One row of arrays: a thousand rows fetched one by one, be it by COPY, cost five times the Python.
OPEN_POSITIONS = f"SELECT {ARRAYS} FROM portfolios_position p WHERE p.closed_at IS NULL"


class UnreadableRows(Exception):
    """A row holds something that has no place among numbers, such as a side that is none."""


@dataclass(frozen=True, slots=True)
class Market:
    """What positions are computed against: one element an instrument by id, and one more for any not listed."""

    instrument: Int64
    kind: Int8
    contract_size: Float
    rule: Int16
    fee_rate: Float
    ladder: Int32
    mark_price: Float
    mark_sequence: Int64
    priced_at: Moments
    tiers: Tiers

    def find(self, instrument: Int64) -> Int64:
        """Place of each instrument; -1, the last element, for one that was listed after the market was read."""
        place = np.searchsorted(self.instrument, instrument)
        found = self.instrument[np.minimum(place, len(self.instrument) - 1)] == instrument
        return np.where(found, place, -1)


@dataclass(frozen=True, slots=True)
class Book:
    """Open positions of one firm, n rows."""

    id: Int64
    client_id: Int64
    version: Int32
    instrument_id: Int64
    side: Int8
    contracts: Float
    entry_price: Float
    wallet: Float

    def __len__(self) -> int:
        return len(self.id)

    def positions(self, market: Market, place: Int64, mark_price: Float) -> Positions:
        """The rows as the engine takes them; place as Market.find gives it."""
        return Positions(
            side=self.side,
            kind=market.kind[place],
            size=self.contracts * market.contract_size[place],
            contracts=self.contracts,
            entry_price=self.entry_price,
            wallet=self.wallet,
            mark_price=mark_price,
            fee_rate=market.fee_rate[place],
            rule=market.rule[place],
            ladder=market.ladder[place],
        )


def read_market(*, today: date) -> Market:
    """Instruments, newest marks and the tiers in force."""
    ladders = read_ladders(today=today)
    index = {(ladder.label, ladder.symbol): place for place, ladder in enumerate(ladders)}
    names = ("id", "venue", "kind", "contract_size", "tier_label", "tier_symbol")
    marks = ("markprice__price", "markprice__sequence", "markprice__source_at")
    listed = list(Instrument.objects.order_by("id").values_list(*names, *marks))
    rules = [_rule_of(venue, KINDS[kind], today) for _, venue, kind, *_ in listed]
    nan, never = float("nan"), np.datetime64("NaT", "us")
    return Market(
        instrument=np.array([*(row[0] for row in listed), -1], dtype=np.int64)[: len(listed) or 1],
        kind=np.array([*(KINDS[row[2]] for row in listed), LINEAR], dtype=np.int8),
        contract_size=np.array([*(float(row[3]) for row in listed), nan]),
        rule=np.array([*rules, -1], dtype=np.int16),
        fee_rate=np.array(
            [0.0 if rule < 0 else float(RULES[rule].default_fee_rate) for rule in [*rules, -1]]
        ),
        ladder=np.array([*(index.get((row[4], row[5]), -1) for row in listed), -1], dtype=np.int32),
        mark_price=np.array([*(nan if row[6] is None else float(row[6]) for row in listed), nan]),
        mark_sequence=np.array([*(row[7] or 0 for row in listed), 0], dtype=np.int64),
        priced_at=np.array([*(_moment(row[8]) for row in listed), never], dtype="datetime64[us]"),
        tiers=build_tiers(ladders),
    )


def read_ladders(*, today: date) -> list[Ladder]:
    """The newest ladder of each symbol that is in force; one that cannot be used is left out and logged."""
    names = (
        "label",
        "symbol",
        "effective_from",
        "tier",
        "floor",
        "cap",
        "maintenance_rate",
        "maintenance_amount",
    )
    rows = Tier.objects.filter(effective_from__lte=today).order_by(
        "label", "symbol", "-effective_from", "tier"
    )
    ladders = []
    for (label, symbol), dated in groupby(rows.values_list(*names, "max_leverage"), itemgetter(0, 1)):
        _, newest = next(groupby(dated, itemgetter(2)))
        ladder = ladder_of(
            label, symbol, [TierRow(**dict(zip(TIER_FIELDS, row[3:], strict=True))) for row in newest]
        )
        try:
            ladders.append(check_ladder(ladder))
        except TierError as error:
            log.exception("ladder_unusable", label=label, symbol=symbol, error=str(error))
    return ladders


def _rule_of(venue: str, kind: int, today: date) -> int:
    try:
        return rule_index(venue, kind, today)
    except UnknownRule:
        return -1


def _moment(at: datetime | None) -> np.datetime64:
    return np.datetime64("NaT", "us") if at is None else np.datetime64(at.replace(tzinfo=None), "us")


def read_book(cursor: Any, *, only: int | None = None, without: Sequence[int] = ()) -> Book:
    """Open positions in the scope in force: all, one of them, or all but some."""
    if only is not None:
        cursor.execute(f"{OPEN_POSITIONS} AND p.id = %s", [only], binary=True)
    elif without:
        cursor.execute(f"{OPEN_POSITIONS} AND p.id <> ALL (%s)", [list(without)], binary=True)
    else:
        cursor.execute(OPEN_POSITIONS, binary=True)
    found = fetch_arrays(cursor, [(name, kind) for name, kind, _ in COLUMNS])
    return Book(**found | {"side": found["side"].astype(np.int8)})


def fetch_arrays(cursor: Any, columns: Sequence[tuple[str, str]]) -> dict[str, NDArray[Any]]:
    """The one row of a binary result, whose columns are arrays without a NULL."""
    return {
        name: _decode(name, np.dtype(kind), cursor.pgresult.get_value(0, place))
        for place, (name, kind) in enumerate(columns)
    }


def _decode(name: str, kind: np.dtype[Any], value: bytes | None) -> NDArray[Any]:
    # No row at all is NULL and not an empty array.
    if value is None:
        return np.zeros(0, dtype=kind.newbyteorder("="))
    if value[HAS_NULL]:
        raise UnreadableRows(f"{name} is missing in a row")
    elements = np.frombuffer(value, np.dtype([("length", ">i4"), ("value", kind)]), offset=ARRAY_HEADER)
    return elements["value"].astype(kind.newbyteorder("="))
