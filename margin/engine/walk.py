"""Liquidation in ladders whose maintenance jumps or bends: from the mark outwards, tier by tier."""

from dataclasses import dataclass

import numpy as np

from margin.engine.equity import Held
from margin.engine.inputs import Inputs
from margin.engine.reasons import Reason
from margin.engine.solve import solve_sloped_value
from margin.engine.types import Bool, Float, Int8, Int16, Int64, Tiers

# A boundary reached from two sides of a division differs in its last digits; that is no gap.
BOUNDARY = 1e-12


@dataclass(frozen=True, slots=True)
class Walk:
    """Where each row is liquidated.

    Notes   rows : which were walked
            value : of the position, zero or negative where no price liquidates, NaN where unknown
            tier : whose terms liquidate, -1 = none · is_boundary : value is where that tier begins, for there
            maintenance jumps over equity · reason : why value is unknown, or ALWAYS
    """

    rows: Int64
    value: Float
    tier: Int16
    is_boundary: Bool
    reason: Int8


NO_WALK = Walk(
    rows=np.zeros(0, dtype=np.int64),
    value=np.zeros(0),
    tier=np.zeros(0, dtype=np.int16),
    is_boundary=np.zeros(0, dtype=np.bool_),
    reason=np.zeros(0, dtype=np.int8),
)


@dataclass(slots=True)
class _Path:
    """The rows still under way: where they stand, and in which tier.

    Notes   towards : -1 = to smaller values, +1 = to greater · safe : +1 where equity covers maintenance at the
            mark, -1 where it does not and the walk looks for the value at which it would again
    """

    rows: Int64
    here: Float
    tier: Int64
    towards: Float
    safe: Float

    def keep(self, mask: Bool) -> None:
        for name in ("rows", "here", "tier", "towards", "safe"):
            setattr(self, name, getattr(self, name)[mask])


@dataclass(frozen=True, slots=True)
class _Terms:
    """κ, its growth and the amount of a tier, as each row's rule takes them."""

    tiers: Tiers
    first: Int64
    last: Int64
    sign: Float
    condition: Float
    fee: Float
    divisor: Float
    deducts: Bool

    def at(self, rows: Int64, tier: Int64) -> tuple[Float, Float, Float]:
        """κ at size 0, growth of κ, amount."""
        row = self.first[rows] + tier
        divisor = self.divisor[rows]
        slope = self.tiers.slope[row] / divisor
        kappa = self.tiers.rate[row] / divisor - slope * self.tiers.floor[row] + self.fee[rows]
        amount = np.where(self.deducts[rows], self.tiers.amount[row] / divisor, 0.0)
        return kappa, slope, amount

    def cushion(self, rows: Int64, tier: Int64, value: Float) -> Float:
        """Equity above maintenance at a value, under a tier's terms."""
        kappa, slope, amount = self.at(rows, tier)
        line = self.condition[rows] + self.sign[rows] * value
        return np.asarray(line - (kappa + slope * value) * value + amount, dtype=np.float64)

    def root(self, rows: Int64, tier: Int64) -> Float:
        """Value at which a tier's terms leave no cushion."""
        kappa, slope, amount = self.at(rows, tier)
        return solve_sloped_value(self.sign[rows], self.condition[rows], kappa, amount, slope)


def walk_from_mark(tiers: Tiers, inputs: Inputs, held: Held, *, rows: Int64, tier: Int16) -> Walk:
    """The first value, on the way to liquidation, at which equity no longer covers maintenance.

    Parameters  tiers, inputs, held : of the call · rows : to walk · tier : in force at the mark, one a row of rows
    Returns     Walk, one row each of rows
    Notes       Without a deduction maintenance jumps where two tiers meet, so equity may cross it several
                times, or the boundary itself liquidates. The first crossing from the mark is the one that
                comes. A row that is liquidatable already walks back, to the first value where it would be safe.
                Each step takes all rows one tier on; most end in their first.
                Source: https://www.okx.com/help/v-tiered-maintenance-margin-ratio-rules (whole position at the
                rate of its tier), https://support.deribit.com/hc/en-us/articles/25944826427293 (growing rate)
    """
    if not len(rows):
        return NO_WALK
    ladder = inputs.ladder[rows]
    terms = _Terms(
        tiers=tiers,
        first=tiers.start[ladder],
        last=tiers.count[ladder] - 1,
        sign=held.sign[rows],
        condition=held.condition[rows],
        fee=inputs.fee[rows],
        divisor=inputs.divisor[rows],
        deducts=inputs.deducts[rows],
    )
    here, every = held.value[rows].copy(), np.arange(len(rows))
    cushion = terms.cushion(every, tier.astype(np.int64), here)
    walk = Walk(
        rows=rows,
        value=np.where(cushion == 0, here, np.nan),
        tier=np.where(cushion == 0, tier, np.int16(-1)),
        is_boundary=np.zeros(len(rows), dtype=np.bool_),
        reason=np.where(np.isnan(here), np.int8(Reason.NO_MARK), np.int8(0)),
    )
    safe = np.sign(cushion)
    path = _Path(every, here, tier.astype(np.int64), -safe * terms.sign, safe)
    path.keep(np.isfinite(cushion) & (cushion != 0))
    while len(path.rows):
        _take_step(terms, path, walk)
    return walk


def _take_step(terms: _Terms, path: _Path, walk: Walk) -> None:
    """Look for the end of each walk in its present tier; move the others to the next."""
    rows, down = path.rows, path.towards < 0
    at_jump = path.safe * terms.cushion(rows, path.tier, path.here) <= 0
    row, last = terms.first[rows] + path.tier, np.where(down, path.tier == 0, path.tier == terms.last[rows])
    edge = np.where(down, terms.tiers.floor[row], terms.tiers.cap[row])
    # The first tier reaches down to nothing and beyond, so "never" has a root; the last goes on upwards.
    edge = np.where(last, np.where(down, -np.inf, np.inf), edge)
    root = terms.root(rows, path.tier)
    ahead = (root - path.here) * path.towards
    is_root = (ahead >= 0) & ((root - edge) * path.towards <= 0)
    done = at_jump | is_root
    ended = rows[done]
    walk.value[ended] = np.where(at_jump, path.here, root)[done]
    walk.tier[ended] = path.tier[done]
    walk.is_boundary[ended] = at_jump[done]
    # Past the last tier without an end: the rate grows so that no price would cover maintenance again.
    walk.reason[rows[last & ~done]] = Reason.ALWAYS
    path.here = edge
    path.tier = np.where(last, path.tier, path.tier + path.towards.astype(np.int64))
    following = terms.first[rows] + path.tier
    reached = np.where(down, terms.tiers.cap[following], terms.tiers.floor[following])
    gapped = ~done & ~last & (np.abs(reached - edge) > BOUNDARY * edge)
    walk.reason[rows[gapped]] = Reason.TIER_GAP_AT_LIQUIDATION
    path.keep(~done & ~last & ~gapped)
