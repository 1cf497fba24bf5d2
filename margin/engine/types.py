"""The arrays the engine takes and gives back."""

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

LONG, SHORT = 1, -1
LINEAR, INVERSE, QUANTO = 0, 1, 2
KINDS = {"linear": LINEAR, "inverse": INVERSE, "quanto": QUANTO}
# How far maintenance may be off where two tiers meet before it jumps: published amounts are rounded.
ROUNDING = 0.011


class ShapeError(ValueError):
    """Columns that should describe the same rows have different lengths."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Open positions, one row each; NaN means not known.

    Parameters  side : +1 long, -1 short · kind : LINEAR, INVERSE or QUANTO
                size : linear, quanto: base quantity; inverse: quote notional (contracts × contract size)
                contracts : number of contracts, for ladders whose floors are in contracts
                entry_price, mark_price : quote per base
                quanto: the contract size carries the settlement units a quote unit is worth, so size × price is
                the value in settlement currency and all that holds for linear holds
                wallet : isolated wallet in settlement currency, without unrealised PnL
                fee_rate : fraction of value; counts only where the rule puts a fee into the condition
                rule : index into the rules of the call, -1 = none · ladder : index into Tiers, -1 = none
                leverage : set at the venue
                daily_volatility : standard deviation of the log of the mark over a day
    Raises      ShapeError: columns of different lengths
    """

    side: Int8
    kind: Int8
    size: Float
    contracts: Float
    entry_price: Float
    wallet: Float
    mark_price: Float
    fee_rate: Float
    rule: Int16
    ladder: Int32
    leverage: Float
    daily_volatility: Float

    def __post_init__(self) -> None:
        lengths = {name.name: np.shape(getattr(self, name.name)) for name in fields(self)}
        if len(set(lengths.values())) != 1 or len(self.side.shape) != 1:
            raise ShapeError(f"position columns must be one-dimensional and of one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.side)

    def rows(self, start: int, stop: int) -> "Positions":
        """Rows start to stop as views, nothing copied."""
        return Positions(*(getattr(self, column.name)[start:stop] for column in fields(self)))


def pack_positions(
    *,
    side: ArrayLike,
    kind: ArrayLike,
    size: ArrayLike,
    contracts: ArrayLike,
    entry_price: ArrayLike,
    wallet: ArrayLike,
    mark_price: ArrayLike,
    fee_rate: ArrayLike,
    rule: ArrayLike,
    ladder: ArrayLike,
    leverage: ArrayLike | None = None,
    daily_volatility: ArrayLike | None = None,
) -> Positions:
    """Positions from any sequences: the one conversion into float64.

    Parameters  as Positions; None in a float column becomes NaN, that is: not known; so does a column left out
    Returns     Positions
    Raises      ShapeError: columns of different lengths
    """
    return Positions(
        side=np.asarray(side, dtype=np.int8),
        kind=np.asarray(kind, dtype=np.int8),
        size=np.asarray(size, dtype=np.float64),
        contracts=np.asarray(contracts, dtype=np.float64),
        entry_price=np.asarray(entry_price, dtype=np.float64),
        wallet=np.asarray(wallet, dtype=np.float64),
        mark_price=np.asarray(mark_price, dtype=np.float64),
        fee_rate=np.asarray(fee_rate, dtype=np.float64),
        rule=np.asarray(rule, dtype=np.int16),
        ladder=np.asarray(ladder, dtype=np.int32),
        leverage=_or_unknown(leverage, side),
        daily_volatility=_or_unknown(daily_volatility, side),
    )


def _or_unknown(column: ArrayLike | None, like: ArrayLike) -> Float:
    return np.full(np.shape(like), np.nan) if column is None else np.asarray(column, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Tiers:
    """Margin ladders laid end to end: ladder i owns rows start[i] to start[i + 1], sorted by floor.

    Parameters  start : (ladders + 1,) row offsets
                floor, cap : value in settlement currency, or contracts; cap is inf when the last tier is open
                rate, amount : maintenance = rate × value − amount · max_leverage : NaN where not published
                in_contracts : (ladders,) floors and caps count contracts
                sample : (ladders,) the venue has tiers that are not in the table; left out = none has
                slope : growth of the rate for every unit of size above the tier's own floor, for venues whose
                rate is continuous; left out = none
    Raises      ShapeError: offsets and rows do not fit together
    Notes       A rate applies to the whole position: maintenance = (rate + slope × (size − floor)) × value −
                amount. Size is what chooses the tier: value (an inverse contract's is its coins), contracts, or
                coins where the venue's rule says so; at entry where maintenance is valued at entry. Deribit is
                one tier from 0; Delta's rate grows from its second tier's floor, the threshold.
                count, peak_rate, incomplete, jumping, sloped, deducting are derived, one a ladder.
    """

    start: Int64
    floor: Float
    rate: Float
    amount: Float
    cap: Float
    max_leverage: Float
    in_contracts: Bool
    sample: Bool = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    slope: Float = field(default_factory=lambda: np.zeros(0))
    count: Int64 = field(init=False, repr=False, compare=False)
    peak_rate: Float = field(init=False, repr=False, compare=False)
    incomplete: Bool = field(init=False, repr=False, compare=False)
    jumping: Bool = field(init=False, repr=False, compare=False)
    sloped: Bool = field(init=False, repr=False, compare=False)
    deducting: Bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = len(self.floor)
        columns = (self.rate, self.amount, self.cap, self.max_leverage)
        count = np.diff(self.start)
        if any(len(column) != rows for column in columns) or len(self.start) != len(self.in_contracts) + 1:
            raise ShapeError("tier columns must be of one length, and start one longer than in_contracts")
        if self.start[0] != 0 or self.start[-1] != rows or (count < 1).any():
            raise ShapeError("start must run from 0 to the number of rows, with at least one row a ladder")
        sample = self.sample if len(self.sample) else np.zeros(len(count), dtype=np.bool_)
        gapped, jumping = _breaks(self)
        slope = self.slope if len(self.slope) else np.zeros(rows)
        # An open tier's rate has no end: what it starts with counts.
        peak = self.rate + slope * np.where(np.isfinite(self.cap), self.cap - self.floor, 0.0)
        derived = {
            "sample": sample,
            "slope": slope,
            "count": count,
            "peak_rate": np.maximum.reduceat(peak, self.start[:-1]) if rows else peak,
            "incomplete": sample | gapped | (self.floor[self.start[:-1]] > 0),
            "jumping": jumping,
            "sloped": _in_any_row(self.start, slope != 0),
            "deducting": _in_any_row(self.start, self.amount != 0),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.in_contracts)


def _in_any_row(start: Int64, mask: Bool) -> Bool:
    return np.logical_or.reduceat(mask, start[:-1]) if len(mask) else mask


def _breaks(tiers: Tiers) -> tuple[Bool, Bool]:
    """Per ladder: is a range missing between two tiers, does maintenance jump where two tiers meet."""
    ladder = np.repeat(np.arange(len(tiers.in_contracts)), np.diff(tiers.start))
    upper = np.flatnonzero(ladder[1:] == ladder[:-1]) + 1
    is_gap = tiers.floor[upper] > tiers.cap[upper - 1] + tiers.in_contracts[ladder[upper]]
    rise = tiers.floor[upper] * (tiers.rate[upper] - tiers.rate[upper - 1])
    # Where nothing is deducted no amount was rounded: maintenance jumps wherever the rates differ.
    slack = np.where(_in_any_row(tiers.start, tiers.amount != 0)[ladder[upper]], ROUNDING, 0.0)
    is_jump = ~is_gap & (np.abs(tiers.amount[upper] - tiers.amount[upper - 1] - rise) > slack)
    ladders = len(tiers.in_contracts)
    gapped = np.bincount(ladder[upper], weights=is_gap, minlength=ladders) > 0
    jumping = np.bincount(ladder[upper], weights=is_jump, minlength=ladders) > 0
    return gapped, jumping & ~tiers.in_contracts


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of each position; money in settlement currency, NaN where unknown.

    Notes   margin_ratio and effective_leverage are inf once equity is gone.
            reason is 0 exactly where state is not UNKNOWN, liquidation_reason exactly where a price is given;
            both hold codes of margin.engine.reasons. tier counts from 0 within the ladder, -1 = none.
            distance_sigmas : s·ln(P/L) in daily standard deviations; NaN too where no volatility is known.
    """

    value: Float
    unrealised_pnl: Float
    equity: Float
    maintenance_margin: Float
    margin_ratio: Float
    liquidation_price: Float
    bankruptcy_price: Float
    distance_ratio: Float
    distance_sigmas: Float
    effective_leverage: Float
    max_loss: Float
    tier: Int16
    liquidation_reason: Int8
    reason: Int8
    state: Int8

    def __len__(self) -> int:
        return len(self.state)
