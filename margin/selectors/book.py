"""The book as the engine takes it: open positions of a firm and the market they are computed against, as arrays."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from psycopg import sql

from margin.engine.rules import RULES, UnknownRule, rule_index
from margin.engine.tiers import Ladder, TierError, TierRow, build_tiers, check_ladder, ladder_of
from margin.engine.types import INVERSE, LINEAR, QUANTO, Float, Int8, Int16, Int32, Int64, Positions, Tiers
from margin.models import Tier
from portfolios.models import Instrument

log = structlog.get_logger(__name__)

Moments = NDArray[np.datetime64]
KINDS = {"linear": LINEAR, "inverse": INVERSE, "quanto": QUANTO}
# A binary COPY: a signature, one record a row (number of fields, then length and bytes of each), a trailer.
COPY_HEADER, COPY_TRAILER = 19, 2
COLUMNS = (
    ("id", ">i8", "id"),
    ("client_id", ">i8", "client_id"),
    ("version", ">i4", "version"),
    ("instrument_id", ">i8", "instrument_id"),
    ("side", ">i2", "(CASE side WHEN 'long' THEN 1 WHEN 'short' THEN -1 END)::int2"),
    ("contracts", ">f8", "quantity::float8"),
    ("entry_price", ">f8", "entry_price::float8"),
    ("wallet", ">f8", "isolated_wallet::float8"),
)
POSITIONS = sql.SQL("SELECT {} FROM portfolios_position WHERE closed_at IS NULL").format(
    sql.SQL(", ").join(sql.SQL(expression) for _, _, expression in COLUMNS)  # type: ignore[arg-type]
)


class UnreadableRows(Exception):
    """A row holds something that has no place in a fixed-width record, such as a side that is none."""


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
        fee_rate=np.array([0.0 if rule < 0 else float(RULES[rule].default_fee_rate) for rule in [*rules, -1]]),
        ladder=np.array([*(index.get((row[4], row[5]), -1) for row in listed), -1], dtype=np.int32),
        mark_price=np.array([*(nan if row[6] is None else float(row[6]) for row in listed), nan]),
        mark_sequence=np.array([*(row[7] or 0 for row in listed), 0], dtype=np.int64),
        priced_at=np.array([*(_moment(row[8]) for row in listed), never], dtype="datetime64[us]"),
        tiers=build_tiers(ladders) if ladders else NO_TIERS,
    )


def read_ladders(*, today: date) -> list[Ladder]:
    """The newest ladder of each symbol that is in force; one that cannot be used is left out and logged."""
    names = ("label", "symbol", "effective_from", "tier", "floor", "cap", "maintenance_rate", "maintenance_amount")
    rows = Tier.objects.filter(effective_from__lte=today).order_by("label", "symbol", "-effective_from", "tier")
    ladders = []
    for (label, symbol), dated in groupby(rows.values_list(*names, "max_leverage"), itemgetter(0, 1)):
        _, newest = next(groupby(dated, itemgetter(2)))
        ladder = ladder_of(label, symbol, [TierRow(**dict(zip(TIER_FIELDS, row[3:], strict=True))) for row in newest])
        try:
            ladders.append(check_ladder(ladder))
        except TierError as error:
            log.exception("ladder_unusable", label=label, symbol=symbol, error=str(error))
    return ladders


TIER_FIELDS = ("tier", "floor", "cap", "rate", "amount", "max_leverage")
NO_TIERS = Tiers(
    start=np.zeros(1, dtype=np.int64),
    floor=np.zeros(0),
    rate=np.zeros(0),
    amount=np.zeros(0),
    cap=np.zeros(0),
    max_leverage=np.zeros(0),
    in_contracts=np.zeros(0, dtype=np.bool_),
)


def _rule_of(venue: str, kind: int, today: date) -> int:
    try:
        return rule_index(venue, kind, today)
    except UnknownRule:
        return -1


def _moment(at: datetime | None) -> np.datetime64:
    return np.datetime64("NaT", "us") if at is None else np.datetime64(at.replace(tzinfo=None), "us")


def read_book(cursor: Any, *, only: int | None = None, without: Iterable[int] = ()) -> Book:
    """Open positions in the scope in force: all, one of them, or all but some."""
    query = POSITIONS
    if only is not None:
        query += sql.SQL(" AND id = {}").format(only)
    if left_out := list(without):
        query += sql.SQL(" AND id <> ALL ({})").format(left_out)
    rows = copy_out(cursor, query, COLUMNS)
    return Book(
        id=rows["id"].astype(np.int64),
        client_id=rows["client_id"].astype(np.int64),
        version=rows["version"].astype(np.int32),
        instrument_id=rows["instrument_id"].astype(np.int64),
        side=rows["side"].astype(np.int8),
        contracts=rows["contracts"].astype(np.float64),
        entry_price=rows["entry_price"].astype(np.float64),
        wallet=rows["wallet"].astype(np.float64),
    )


def copy_out(cursor: Any, query: sql.Composable, columns: Iterable[tuple[str, str, str]]) -> NDArray[np.void]:
    """Rows of a query as one structured array; each column is (name, numpy type, SQL), in the query's order."""
    columns = list(columns)
    parts = [part for name, kind, _ in columns for part in ((f"{name}:length", ">i4"), (name, kind))]
    record = np.dtype([("fields", ">i2"), *parts])
    with cursor.copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query)) as copy:
        data = b"".join(copy)
    count, rest = divmod(len(data) - COPY_HEADER - COPY_TRAILER, record.itemsize)
    if rest:
        raise UnreadableRows("a row is shorter or longer than the others")
    rows = np.frombuffer(data, record, count=count, offset=COPY_HEADER)
    for name, kind, _ in columns:
        if (rows[f"{name}:length"] != np.dtype(kind).itemsize).any():
            raise UnreadableRows(f"{name} is missing in a row")
    return rows
