"""What a venue would close first of one position, where, and what remains: its rule walked step by step."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from margin.engine.figures import compute_figures
from margin.engine.partial_rules import Fill, Method, PartialRule
from margin.engine.reasons import Reason
from margin.engine.rules import Basis, VenueRule
from margin.engine.types import INVERSE, Figures, Float, Positions, ShapeError, Tiers

# A venue that closes a bounded amount a block goes on for hundreds of them; nobody reads further.
MAX_STEPS = 400
NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One order of the venue; NaN where its rule does not say.

    Parameters  begins_at : mark at which it begins · filled_at : price at which it counts as closed
                closed, remaining : share of the position as it was before the first step
                value : of what is closed, at the price the step begins at · fee_rate, fee : of that value; money
                wallet : margin set aside for what remains; once nothing does, what is left for the client
                equity, maintenance : of what remains, at the price the step begins at
                liquidation_price : of what remains · liquidation_reason : why there is none
                pro_rata_price : the same, if the closed part took its share of the margin along
                tier, tier_after : in force before and after, from 0, -1 = none
                is_whole : nothing remains · before_fee : the fee is not known, so what remains is at most this
                by_backstop : taken over with its margin by the backstop
    """

    begins_at: float
    filled_at: float
    closed: float
    remaining: float
    value: float
    fee_rate: float
    fee: float
    wallet: float
    equity: float
    maintenance: float
    liquidation_price: float
    liquidation_reason: int
    pro_rata_price: float
    tier: int
    tier_after: int
    is_whole: bool
    before_fee: bool
    by_backstop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The steps in order, each further towards loss or at the same price.

    Parameters  steps : none where the position cannot be liquidated or its price is unknown
                ends : what came after the last step: Reason.NONE where nothing remains, a reason of the engine where
                what remains has no liquidation price · is_known : no step of unknown size · is_cut : there are more
                is_open : what the last step leaves of the margin, and so what follows, is not known
                backstop_price : where another mechanism takes the whole position over; NaN where there is none
                is_beyond : the mark has passed liquidation, so the first step begins at the mark
                debt : by how much the loss exceeds the margin at the mark, money of settlement; 0 where it does not
    """

    steps: tuple[Step, ...]
    ends: int
    is_known: bool = True
    is_cut: bool = False
    is_open: bool = False
    backstop_price: float = NAN
    is_beyond: bool = False
    debt: float = 0.0


@dataclass(frozen=True, slots=True)
class _Held:
    """What is left of the position while the ladder is walked."""

    share: float
    wallet: float
    price: float
    # What was cut to the limit of a tier counts as of that tier, though the mark carries its value above it.
    tier_limit: int | None = None
    steps_taken: int = 0
    is_short_still: bool = False


@dataclass(frozen=True, slots=True)
class _Case:
    """The one position with everything it is computed with."""

    position: Positions
    tiers: Tiers
    rules: Sequence[VenueRule]
    partial: PartialRule
    side: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "side", int(self.position.side[0]))

    def figures(self, share: float, wallet: float, price: float, tiers: Tiers | None = None) -> Figures:
        """Of a share of the position with so much margin, at a mark."""
        held = replace(
            self.position,
            mark_price=np.array([price]),
            wallet=np.array([wallet]),
            size=self.position.size * share,
            contracts=self.position.contracts * share,
        )
        return compute_figures(held, tiers or self.tiers, self.rules)

    def later(self, one: float, other: float) -> float:
        """The price further towards loss; of a NaN and a number the number."""
        return float(np.fmin(one, other) if self.side > 0 else np.fmax(one, other))


def partial_ladder(
    position: Positions, tiers: Tiers, rules: Sequence[VenueRule], partial: PartialRule
) -> Ladder:
    """What the venue closes, step by step, as the mark moves towards loss.

    Parameters  position : one row · tiers, rules : as it points into · partial : the venue's way of liquidating
    Returns     Ladder
    Raises      ShapeError: not exactly one position
    Notes       A step begins where equity meets the maintenance of what is then left; where the mark is already
                beyond that, at the mark. What is closed at the mark realises its loss and pays the fee; the rest of
                the margin stays with what remains, for no venue says that it leaves. What is taken over at
                bankruptcy loses exactly its share of the margin, and so does what is closed where equity is below
                zero: more than the margin cannot be lost. A part leaves less to be maintained, so the next step
                begins further on, unless it still falls short: then at once.
                Source: PartialRule.source
    """
    if len(position) != 1:
        raise ShapeError(f"a ladder is of one position, got {len(position)}")
    case = _Case(position, tiers, rules, partial)
    held = _Held(1.0, float(position.wallet[0]), float(position.mark_price[0]))
    now = case.figures(held.share, held.wallet, held.price)
    held = replace(held, is_short_still=float(now.margin_ratio[0]) >= 1)
    steps: list[Step] = []
    known: dict[str, Any] = {"is_cut": True}
    while held.share > 0 and len(steps) < MAX_STEPS:
        price, reason = _next_price(case, held)
        if reason:
            known = {"ends": reason}
            break
        step, held = _take_step(case, held, price)
        steps.append(step)
        if np.isnan(step.closed) or np.isnan(held.wallet):
            known = {"is_known": not np.isnan(step.closed), "is_open": held.share > 0}
            break
    return _ladder(case, now, steps, **({} if held.share == 0 else known))


def _next_price(case: _Case, held: _Held) -> tuple[float, int]:
    """Where the next step begins, or why there is none: never back towards profit of the step before."""
    found = case.figures(held.share, held.wallet, held.price)
    reason, price = int(found.liquidation_reason[0]), float(found.liquidation_price[0])
    if held.is_short_still and (held.steps_taken or found.tier[0] >= 0):
        return held.price, 0
    if reason and reason != Reason.ALWAYS:
        return NAN, reason
    if held.steps_taken:
        price = case.later(price, held.price)
    price = held.price if np.isnan(price) else price
    return price, int(Reason.NO_MARK) if np.isnan(price) else 0


def _ladder(case: _Case, now: Figures, steps: list[Step], *, ends: int = 0, **known: bool) -> Ladder:
    return Ladder(
        steps=tuple(steps),
        ends=ends,
        backstop_price=_backstop(case) if steps else NAN,
        is_beyond=float(now.margin_ratio[0]) >= 1,
        debt=max(0.0, float(np.nan_to_num(-now.equity[0]))),
        **known,
    )


def _backstop(case: _Case) -> float:
    """Where equity falls below the backstop's share of maintenance: the same equation with smaller rates."""
    part = case.partial.backstop
    if part is None:
        return NAN
    less = replace(
        case.tiers,
        rate=case.tiers.rate * float(part),
        amount=case.tiers.amount * float(part),
        slope=case.tiers.slope * float(part),
    )
    found = case.figures(1.0, float(case.position.wallet[0]), float(case.position.mark_price[0]), less)
    return float(found.liquidation_price[0])


def _take_step(case: _Case, held: _Held, price: float) -> tuple[Step, _Held]:
    """One order at a price: what it closes, and what is held after it."""
    before = case.figures(held.share, held.wallet, price)
    by_backstop = _is_for_backstop(case.partial, before)
    part, limit = (1.0, None) if by_backstop else SIZES[case.partial.method](case, held, before, price)
    if np.isnan(part):
        return _unknown_step(case, held, before, price), held
    fill = case.partial.whole_fill if part >= 1 else case.partial.part_fill
    fill = Fill.BANKRUPTCY if by_backstop else fill
    wallet, fee_rate, fee = _settle(case.partial, held, before, part, fill)
    share = 0.0 if part >= 1 else held.share * (1 - part)
    after = case.figures(share, wallet, price)
    is_short_still = share > 0 and not float(after.margin_ratio[0]) < 1 - 1e-12
    pro_rata = case.figures(share, float(case.position.wallet[0]) * share, price)
    step = Step(
        begins_at=price,
        filled_at=_fill_price(before, price, fill),
        closed=held.share - share,
        remaining=share,
        value=float(before.value[0]) * part,
        fee_rate=fee_rate,
        fee=fee,
        wallet=wallet,
        equity=float(after.equity[0]),
        maintenance=float(after.maintenance_margin[0]),
        liquidation_price=float(after.liquidation_price[0]),
        liquidation_reason=int(after.liquidation_reason[0]) if share and not np.isnan(wallet) else 0,
        pro_rata_price=float(pro_rata.liquidation_price[0]),
        tier=_tier_of(case, held, price),
        tier_after=-1 if not share else limit if limit is not None else int(after.tier[0]),
        is_whole=share == 0,
        before_fee=np.isnan(fee_rate) and fill is Fill.MARK,
        by_backstop=by_backstop,
    )
    return step, _Held(share, wallet, price, limit, held.steps_taken + 1, is_short_still)


def _is_for_backstop(partial: PartialRule, before: Figures) -> bool:
    """Equity below the backstop's share of maintenance: nothing is sent to the market any more."""
    if partial.backstop is None:
        return False
    return bool(before.equity[0] < float(partial.backstop) * before.maintenance_margin[0])


def _unknown_step(case: _Case, held: _Held, before: Figures, price: float) -> Step:
    unknown = dict.fromkeys(
        ("filled_at", "closed", "remaining", "value", "fee", "wallet", "equity", "maintenance"), NAN
    )
    return Step(
        begins_at=price,
        **unknown,
        fee_rate=_fee_rate(case.partial, before),
        liquidation_price=NAN,
        liquidation_reason=0,
        pro_rata_price=NAN,
        tier=_tier_of(case, held, price),
        tier_after=-1,
        is_whole=False,
        before_fee=case.partial.fee_rate is None,
        by_backstop=False,
    )


def _fee_rate(partial: PartialRule, before: Figures) -> float:
    if partial.fee_rate is None:
        return NAN
    rate = float(partial.fee_rate)
    return min(rate, max(0.0, float(before.equity[0] / before.value[0]))) if partial.fee_capped else rate


def _settle(
    partial: PartialRule, held: _Held, before: Figures, part: float, fill: Fill
) -> tuple[float, float, float]:
    """Margin after a part was closed, fee rate and fee; an unknown fee is left out, and the step says so."""
    fee_rate = _fee_rate(partial, before)
    fee = fee_rate * part * float(before.value[0])
    if fill is Fill.UNKNOWN:
        return NAN, fee_rate, fee
    if fill is Fill.BANKRUPTCY or float(before.equity[0]) < 0:
        return held.wallet * (1 - part), fee_rate, fee
    loss = part * float(before.unrealised_pnl[0])
    return held.wallet + loss - (0.0 if np.isnan(fee) else fee), fee_rate, fee


def _fill_price(before: Figures, price: float, fill: Fill) -> float:
    if fill is Fill.UNKNOWN:
        return NAN
    return float(before.bankruptcy_price[0]) if fill is Fill.BANKRUPTCY else price


def _rows(case: _Case) -> slice:
    ladder = int(case.position.ladder[0])
    return slice(int(case.tiers.start[ladder]), int(case.tiers.start[ladder + 1]))


def _measure(case: _Case, share: float, price: float) -> float:
    """What the venue's tiers count: contracts, coins, or the value at the price or at entry."""
    position = case.position
    if case.tiers.in_contracts[int(position.ladder[0])]:
        return float(position.contracts[0]) * share
    rule, size = case.rules[int(position.rule[0])], float(position.size[0]) * share
    if rule.tiers_in_coins and rule.kind != INVERSE:
        return size
    at = float(position.entry_price[0]) if rule.maintenance_basis is Basis.ENTRY else price
    return size / at if position.kind[0] == INVERSE else size * at


def _tier_of(case: _Case, held: _Held, price: float) -> int:
    caps: Float = case.tiers.cap[_rows(case)]
    by_size = int(np.searchsorted(caps * (1 + 1e-12), _measure(case, held.share, price)))
    by_size = min(by_size, len(caps) - 1)
    return by_size if held.tier_limit is None else min(by_size, held.tier_limit)


def _whole(case: _Case, held: _Held, before: Figures, price: float) -> tuple[float, int | None]:
    if not case.partial.part_known_above and _tier_of(case, held, price) >= case.partial.whole_tiers:
        return NAN, None
    return 1.0, None


def _nothing_known(case: _Case, held: _Held, before: Figures, price: float) -> tuple[float, int | None]:
    return NAN, None


def _tiers_down(case: _Case, held: _Held, before: Figures, price: float) -> tuple[float, int | None]:
    """What exceeds the limit of a lower tier; the whole in the lowest tiers, or where no lower tier suffices."""
    tier, measure = _tier_of(case, held, price), _measure(case, held.share, price)
    is_second = case.partial.once and held.steps_taken > 0 and held.is_short_still
    if tier < case.partial.whole_tiers or is_second or _misses_first_tier(case, held, price):
        return 1.0, None
    if not case.partial.picks_tier:
        limit = max(0, tier - case.partial.tiers_down)
        return 1 - float(case.tiers.cap[_rows(case)][limit]) / measure, limit
    for limit in reversed(range(tier)):
        part = 1 - float(case.tiers.cap[_rows(case)][limit]) / measure
        loss = part * float(before.unrealised_pnl[0])
        after = case.figures(held.share * (1 - part), held.wallet + loss, price)
        if float(after.margin_ratio[0]) < 1:
            return part, limit
    return 1.0, None


def _misses_first_tier(case: _Case, held: _Held, price: float) -> bool:
    """Where the venue takes the whole once the margin does not even meet the lowest tier's requirement."""
    if not case.partial.whole_below_first:
        return False
    tiers, first = case.tiers, int(case.tiers.start[int(case.position.ladder[0])])
    lowest = replace(
        tiers,
        rate=np.full_like(tiers.rate, tiers.rate[first]),
        amount=np.full_like(tiers.amount, tiers.amount[first]),
        slope=np.full_like(tiers.slope, tiers.slope[first]),
    )
    return bool(case.figures(held.share, held.wallet, price, lowest).margin_ratio[0] > 1)


def _fraction(case: _Case, held: _Held, before: Figures, price: float) -> tuple[float, int | None]:
    """A fraction of a large position; the rest, if it falls short again soon after, whole."""
    large = float(before.value[0]) > float(case.partial.threshold)
    return (float(case.partial.fraction) if large and not held.steps_taken else 1.0), None


def _blocks(case: _Case, held: _Held, before: Figures, price: float) -> tuple[float, int | None]:
    """A fraction of what is left, between a least and a most value."""
    value = float(before.value[0])
    wanted = max(value * float(case.partial.fraction), min(float(case.partial.least), value))
    if case.partial.most is not None:
        wanted = min(wanted, float(case.partial.most))
    return (1.0 if wanted >= value else wanted / value), None


SIZES = {
    Method.WHOLE: _whole,
    Method.TO_COMPLIANCE: _nothing_known,
    Method.UNKNOWN: _nothing_known,
    Method.TIERS_DOWN: _tiers_down,
    Method.FRACTION: _fraction,
    Method.BLOCKS: _blocks,
}


def least_share(position: Positions, tiers: Tiers, rules: Sequence[VenueRule], price: float) -> float:
    """Least share of a position that must be closed at a mark for the rest to comply, before any fee.

    Parameters  position : one row, its venue valuing maintenance at the mark by a continuous table
                tiers, rules : as it points into · price : mark at or beyond liquidation
    Returns     0 where it complies, 1 where nothing smaller than the whole helps
    Raises      ShapeError: not exactly one position
    Notes       Closing at the mark leaves equity e and lowers the value to n, so n solves MM(n) = e. MM is the
                greatest of one line a tier, so n = min over tiers of (e + A) / m.
                Source: https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93
    """
    if len(position) != 1:
        raise ShapeError(f"a share is of one position, got {len(position)}")
    found = compute_figures(replace(position, mark_price=np.array([price])), tiers, rules)
    ladder = int(position.ladder[0])
    rows = slice(int(tiers.start[ladder]), int(tiers.start[ladder + 1]))
    equity, value = float(found.equity[0]), float(found.value[0])
    if equity <= 0:
        return 1.0
    rates = tiers.rate[rows]
    lines = (equity + tiers.amount[rows][rates > 0]) / rates[rates > 0]
    return float(np.clip(1 - lines.min() / value, 0.0, 1.0)) if len(lines) else 0.0
