"""Published numbers, one a row, turned into engine calls: what the venue printed, what the engine says."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from margin.engine.figures import compute_figures
from margin.engine.initial import closing_fee, initial_margin
from margin.engine.reasons import Reason
from margin.engine.rules import RULES, Basis, FeeBasis, VenueRule
from margin.engine.solve import price_of_value, reduce_to_value, solve_value
from margin.engine.types import (
    INVERSE,
    LINEAR,
    LONG,
    QUANTO,
    SHORT,
    Figures,
    Positions,
    Tiers,
    pack_positions,
)

COLUMNS = (
    "id",
    "venue",
    "contract_type",
    "side",
    "entry_price",
    "quantity",
    "contract_size",
    "leverage",
    "isolated_margin",
    "extra_margin",
    "maint_margin_rate",
    "maint_amount",
    "fee_rate",
    "mark_price",
    "expected_quantity_name",
    "expected_value",
    "tolerance",
    "source",
    "notes",
)
VOLATILITY_COLUMNS = frozenset(
    {"id", "kind", "inputs", "expected_quantity_name", "expected_value", "tolerance"}
)
KINDS = {"linear": LINEAR, "inverse": INVERSE, "quanto": QUANTO}
SIDES = {"": LONG, "long": LONG, "short": SHORT}
NEVER = (Reason.NEVER_1X_LONG, Reason.NEVER_INVERSE_SHORT, Reason.NEVER_FAR_AWAY)
NAN = float("nan")


class VectorError(ValueError):
    """A vector file that cannot be read; the message names row and column."""


class NotComputed(ValueError):
    """A quantity, or a way of computing it, that the engine does not offer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One published number and the position it belongs to; NaN = not given."""

    id: str
    venue: str
    kind: int
    side: int
    entry_price: float
    quantity: float
    contract_size: float
    leverage: float
    isolated_margin: float
    extra_margin: float
    rate: float
    amount: float
    fee_rate: float
    mark_price: float
    quantity_name: str
    expected: float
    tolerance: float
    source: str
    notes: str

    def noted(self, key: str) -> list[str]:
        """Values of the key=value tokens of the notes."""
        tokens = (token.strip().partition("=") for token in self.notes.split(";"))
        return [value.strip() for name, _, value in tokens if name == key]

    @property
    def size(self) -> float:
        """Base quantity, or quote notional of an inverse contract."""
        return self.quantity * self.contract_size


def check_header(columns: Iterable[str] | None) -> None:
    """Tell by the header whether this is a margin vector file.

    Parameters  columns : header of the CSV, None if the file is empty
    Raises      VectorError: volatility vectors (not computed), or a missing column
    """
    names = set(columns or ())
    if names >= VOLATILITY_COLUMNS:
        raise VectorError("these are volatility vectors; this version computes margin vectors only")
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        raise VectorError(f"not a margin vector file: column {missing[0]} is missing")


def read_vector(record: Mapping[str, str], line: int) -> Vector:
    """One row of a vector CSV.

    Parameters  record : mapping with the columns in COLUMNS, as text · line : for error messages
    Returns     Vector
    Raises      VectorError: a value that is not a number or a word that is not known
    """

    def number(column: str, default: float = NAN) -> float:
        return _read_number(record, line, column, default)

    entry, mark = number("entry_price"), number("mark_price")
    return Vector(
        id=record["id"],
        venue=record["venue"],
        kind=_read_word(record, line, "contract_type", KINDS),
        side=_read_word(record, line, "side", SIDES),
        # A source that values at one price only gives only that one; the figure asked for needs no other.
        entry_price=mark if np.isnan(entry) else entry,
        mark_price=entry if np.isnan(mark) else mark,
        quantity=number("quantity"),
        contract_size=number("contract_size", 1.0),
        leverage=number("leverage"),
        isolated_margin=number("isolated_margin"),
        extra_margin=number("extra_margin", 0.0),
        rate=number("maint_margin_rate"),
        amount=number("maint_amount", 0.0),
        fee_rate=number("fee_rate", 0.0),
        quantity_name=record["expected_quantity_name"],
        expected=number("expected_value"),
        tolerance=number("tolerance"),
        source=record["source"] or "",
        notes=record["notes"] or "",
    )


def _read_number(record: Mapping[str, str], line: int, column: str, default: float) -> float:
    text = (record[column] or "").strip()
    try:
        return float(text) if text else default
    except ValueError:
        raise VectorError(f"row {line}: {column} is not a number: {text!r}") from None


def _read_word(record: Mapping[str, str], line: int, column: str, known: Mapping[str, int]) -> int:
    text = (record[column] or "").strip()
    if text not in known:
        raise VectorError(f"row {line}: {column} is unknown: {text!r}")
    return known[text]


def compute_vector(vector: Vector, tiers: Tiers | None = None) -> float:
    """What the engine says where the venue printed expected_value.

    Parameters  vector : the row · tiers : one ladder that chooses rate and amount; None = the row's own
    Returns     float; inf where the engine says "never liquidated"
    Raises      NotComputed: the quantity or the kind of contract is not offered, or the engine has no figure
    """
    compute = QUANTITIES.get(vector.quantity_name)
    if compute is None:
        raise NotComputed(f"{vector.quantity_name} is not computed")
    if vector.kind == QUANTO:
        raise NotComputed("quanto contracts are not computed")
    value = compute(vector, tiers)
    if np.isnan(value):
        raise NotComputed("the engine gives no figure for these inputs")
    return value


def wallet_of(vector: Vector) -> float:
    """Isolated wallet: given, or initial margin at entry plus what was added."""
    if not np.isnan(vector.isolated_margin):
        return vector.isolated_margin
    return entry_value(vector) / vector.leverage + vector.extra_margin


def entry_value(vector: Vector) -> float:
    """Value at entry in settlement currency."""
    return vector.size / vector.entry_price if vector.kind == INVERSE else vector.size * vector.entry_price


def rule_of(vector: Vector) -> VenueRule:
    """The venue's rule with the bases the row names; another venue borrows the form of Binance's."""
    names = (vector.venue, f"{vector.venue}_linear", f"{vector.venue}_inverse")
    own = [rule for rule in RULES if rule.venue in names and rule.kind == vector.kind]
    rule = own[-1] if own else replace(RULES[0], kind=vector.kind, fee_basis=FeeBasis.MARK)
    basis, fee, total = (vector.noted(key) for key in ("mm_basis", "fee_basis", "maint_total"))
    return replace(
        rule,
        maintenance_basis=Basis(basis[0]) if basis else rule.maintenance_basis,
        # A fee charged at bankruptcy enters as money (see _row_tier), not as a fraction of the value at mark.
        # A total as reported contains all fees.
        fee_basis=_fee_basis(fee[0]) if fee else FeeBasis.NONE if total else rule.fee_basis,
    )


def _fee_basis(word: str) -> FeeBasis:
    return FeeBasis.MARK if word == "mark" else FeeBasis.NONE


def _row_tier(vector: Vector) -> Tiers:
    """The row's own rate and amount as a ladder of one open tier."""
    rate, amount = vector.rate, vector.amount
    total = vector.noted("maint_total")
    if total:
        rate, amount = float(total[0]) / entry_value(vector), 0.0
    if vector.noted("fee_basis") == ["bankruptcy_value"]:
        amount -= vector.fee_rate * float(_bankruptcy_value(vector, vector.fee_rate))
    return single_tier(rate, amount)


def single_tier(rate: float, amount: float) -> Tiers:
    """A ladder of one open tier.

    Parameters  rate : maintenance rate, NaN = not known · amount : settlement currency
    Returns     Tiers
    """
    return Tiers(
        start=np.array([0, 1]),
        floor=np.zeros(1),
        rate=np.array([rate]),
        amount=np.array([amount]),
        cap=np.full(1, np.inf),
        max_leverage=np.full(1, np.nan),
        in_contracts=np.zeros(1, dtype=np.bool_),
    )


def _position(vector: Vector, wallet: float) -> Positions:
    return pack_positions(
        side=[vector.side],
        kind=[vector.kind],
        size=[vector.size],
        contracts=[vector.quantity],
        entry_price=[vector.entry_price],
        wallet=[wallet],
        mark_price=[vector.mark_price],
        fee_rate=[vector.fee_rate],
        rule=[0],
        ladder=[0],
    )


def _figures(vector: Vector, tiers: Tiers | None, *, wallet: float | None = None) -> Figures:
    held = wallet_of(vector) if wallet is None else wallet
    return compute_figures(
        _position(vector, held), _row_tier(vector) if tiers is None else tiers, [rule_of(vector)]
    )


def _liquidation_price(vector: Vector, tiers: Tiers | None) -> float:
    figures = _figures(vector, tiers, wallet=wallet_of(vector) + sum(map(_other_surplus, _others(vector))))
    if figures.liquidation_reason[0] in NEVER:
        return float("inf")
    return float(figures.liquidation_price[0])


def _others(vector: Vector) -> list[Vector]:
    """The other cross positions a row names as other=side,quantity,entry,mark,rate,amount."""
    found = []
    for text in vector.noted("other"):
        side, *numbers = text.split(",")
        quantity, entry, mark, rate, amount = map(float, numbers)
        found.append(
            replace(
                vector,
                side=SIDES[side.strip()],
                quantity=quantity,
                contract_size=1.0,
                entry_price=entry,
                mark_price=mark,
                rate=rate,
                amount=amount,
                isolated_margin=0.0,
            )
        )
    return found


def _other_surplus(other: Vector) -> float:
    """What another cross position adds to the common wallet: PnL less maintenance, frozen at its mark."""
    figures = _figures(other, None)
    return float(figures.unrealised_pnl[0] - figures.maintenance_margin[0])


def _bankruptcy_value(vector: Vector, kappa: float) -> np.float64:
    kind, side = np.array([vector.kind], dtype=np.int8), np.array([vector.side], dtype=np.int8)
    entry, size = np.array([vector.entry_price]), np.array([vector.size])
    sign, constant = reduce_to_value(kind, side, entry, size, np.array([wallet_of(vector)]))
    return np.float64(solve_value(sign, constant, np.array([kappa]), np.zeros(1))[0])


def _bankruptcy_price(vector: Vector, tiers: Tiers | None) -> float:
    if not vector.fee_rate:
        return float(_figures(vector, tiers).bankruptcy_price[0])
    value = np.array([_bankruptcy_value(vector, vector.fee_rate)])
    kind = np.array([vector.kind], dtype=np.int8)
    return float(price_of_value(kind, np.array([vector.size]), value)[0])


def _maintenance(vector: Vector, tiers: Tiers | None) -> float:
    free = replace(vector, fee_rate=0.0, isolated_margin=0.0)
    return float(_figures(free, tiers).maintenance_margin[0])


def _close_fee(vector: Vector) -> float:
    fee = closing_fee(
        kind=np.array([vector.kind], dtype=np.int8),
        side=np.array([vector.side], dtype=np.int8),
        entry_price=np.array([vector.entry_price]),
        size=np.array([vector.size]),
        wallet=np.array([_initial(vector, entry_value(vector))]),
        fee_rate=np.array([vector.fee_rate]),
    )
    return float(fee[0])


def _initial(vector: Vector, value: float) -> float:
    return float(initial_margin(np.array([value]), np.array([vector.leverage]))[0])


def _plain(name: str) -> Callable[[Vector, Tiers | None], float]:
    """A column of Figures, as it is."""

    def read(vector: Vector, tiers: Tiers | None) -> float:
        return float(getattr(_figures(vector, tiers), name)[0])

    return read


def _value_at_mark(vector: Vector, tiers: Tiers | None) -> float:
    return float(_figures(vector, tiers, wallet=0.0).value[0])


QUANTITIES: dict[str, Callable[[Vector, Tiers | None], float]] = {
    "liquidation_price": _liquidation_price,
    "cross_liquidation_price": _liquidation_price,
    "bankruptcy_price": _bankruptcy_price,
    "bankruptcy_notional": lambda vector, _: float(_bankruptcy_value(vector, 0.0)),
    "notional": _value_at_mark,
    "notional_entry": lambda vector, _: entry_value(vector),
    "unrealized_pnl": _plain("unrealised_pnl"),
    "equity": _plain("equity"),
    "effective_leverage": _plain("effective_leverage"),
    "max_loss": _plain("max_loss"),
    "maintenance_margin": _maintenance,
    "maintenance_margin_incl_close_fee": lambda vector, tiers: (
        _maintenance(vector, tiers) + _close_fee(vector)
    ),
    "initial_margin": lambda vector, _: _initial(vector, entry_value(vector)),
    "initial_margin_at_mark": lambda vector, tiers: _initial(vector, _value_at_mark(vector, tiers)),
    "initial_margin_incl_close_fee": lambda vector, _: (
        _initial(vector, entry_value(vector)) + _close_fee(vector)
    ),
    "initial_margin_incl_entry_fee": lambda vector, _: (
        _initial(vector, entry_value(vector)) + vector.fee_rate * entry_value(vector)
    ),
    "margin_ratio": _plain("margin_ratio"),
    "margin_ratio_equity_over_mm_plus_fee": lambda vector, tiers: 1.0 / _plain("margin_ratio")(vector, tiers),
    "margin_ratio_equity_over_notional": lambda vector, tiers: (
        1.0 / _plain("effective_leverage")(vector, tiers)
    ),
}
# What a tier table decides: these are computed a second time with rate and amount dropped.
TIERED = frozenset({"liquidation_price", "cross_liquidation_price", "maintenance_margin", "margin_ratio"})
