"""The book as the engine takes it: open positions of a firm as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from margin.engine.states import DEFAULT_THRESHOLDS, LEVEL_NAMES, Thresholds
from margin.engine.types import Float, Int8, Int32, Int64, Positions
from margin.selectors.market import Market

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
    ("leverage", ">f8", "coalesce(p.leverage::float8, 'NaN')"),
    # Not extract(), which answers in NUMERIC: that took as long as three of the other columns.
    ("opened_at", ">f8", "date_part('epoch', p.opened_at)"),
)
ARRAYS = ", ".join(f"array_agg({expression})" for _, _, expression in COLUMNS)
# One row of arrays: a thousand rows fetched one by one, be it by COPY, cost five times the Python.
# With them, in the same statement, the levels the firm has set, and when its newest event or levels were recorded:
# none of the rows knows anything later.
LEVELS = f"""
SELECT ARRAY[{", ".join(LEVEL_NAMES)}]::float8[] FROM margin_risklevels ORDER BY recorded_at DESC LIMIT 1
"""
RECORDED = """
greatest((SELECT recorded_at FROM portfolios_ledgerhead), (SELECT max(recorded_at) FROM margin_risklevels))
"""
# Where the ledger stands: with the moment, for a restored database or another one may have come to the same number.
LEDGER = "(SELECT seq || ' ' || recorded_at FROM portfolios_ledgerhead)"
OPEN_POSITIONS = f"""
SELECT {ARRAYS}, ({LEVELS}), {RECORDED}, {LEDGER} FROM portfolios_position p WHERE p.closed_at IS NULL
"""
# Positions change with the ledger alone: while it stands where it stood, no row is looked at.
UNLESS_KNOWN = f"AND {LEDGER} IS DISTINCT FROM %s"
POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class UnreadableRows(Exception):
    """A row holds something that has no place among numbers, such as a side that is none."""


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
    leverage: Float
    # Seconds since 1970.
    opened_at: Float
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    # When the newest event or levels that are known here were recorded; none if there never were any.
    recorded_at: datetime | None = None
    # Where the firm's ledger stood when all of its open positions were read.
    ledger: str | None = None

    def __len__(self) -> int:
        return len(self.id)

    def positions(
        self, market: Market, place: Int64, mark_price: Float, daily_volatility: Float
    ) -> Positions:
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
            # A rule for positions opened since a moment says nothing of older ones.
            rule=np.where(self.opened_at < market.opened_since[place], np.int16(-1), market.rule[place]),
            ladder=market.ladder[place],
            leverage=self.leverage,
            daily_volatility=daily_volatility,
        )


def read_book(
    cursor: Any, *, only: int | None = None, without: Sequence[int] = (), known: Book | None = None
) -> Book:
    """Open positions in the scope in force: all, one of them, or all but some; known: as they were read before."""
    if only is not None:
        cursor.execute(f"{OPEN_POSITIONS} AND p.id = %s", [only], binary=True)
    elif without:
        cursor.execute(f"{OPEN_POSITIONS} AND p.id <> ALL (%s)", [list(without)], binary=True)
    elif known is not None and known.ledger is not None:
        cursor.execute(f"{OPEN_POSITIONS} {UNLESS_KNOWN}", [known.ledger], binary=True)
    else:
        cursor.execute(OPEN_POSITIONS, binary=True)
    levels, recorded, ledger = (cursor.pgresult.get_value(0, len(COLUMNS) + more) for more in range(3))
    stands = None if ledger is None or only is not None or without else ledger.decode()
    newest: dict[str, Any] = {
        # Without a row of its own the firm has the levels that every firm begins with.
        "thresholds": Thresholds(
            **dict(zip(LEVEL_NAMES, _decode("level", np.dtype(">f8"), levels).tolist(), strict=False))
        ),
        "recorded_at": None
        if recorded is None
        else POSTGRES_EPOCH + timedelta(microseconds=int.from_bytes(recorded, "big", signed=True)),
        "ledger": stands,
    }
    if known is not None and stands is not None and stands == known.ledger:
        return replace(known, **newest)
    found: dict[str, Any] = fetch_arrays(cursor, [(name, kind) for name, kind, _ in COLUMNS])
    return Book(**found | {"side": found["side"].astype(np.int8)}, **newest)


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
