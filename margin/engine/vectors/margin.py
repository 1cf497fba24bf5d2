"""Quantities of a position that venues publish, each computed by the engine from a row's inputs."""

import re
from dataclasses import replace

import numpy as np

from margin.engine.initial import (
    continuous_margin,
    entry_fee,
    initial_margin,
)
from margin.engine.reasons import Reason, describe_reason
from margin.engine.rules import Basis, Rounding, displayed_liquidation_price, venue_margin_ratio
from margin.engine.types import INVERSE, Tiers
from margin.engine.vectors.names import canonical_name, guess_name, ratio_parts, split_suffixes
from margin.engine.vectors.of_venues import (
    closing_notional,
    market_margin,
    offered_price,
    reserve,
    reserved_maintenance_of,
    reserved_margin,
    risk_rate,
)
from margin.engine.vectors.rows import NAN, NEVER, NotComputed, Vector, exact
from margin.engine.vectors.terms import (
    AT_BANKRUPTCY,
    AT_BANKRUPTCY_VALUE,
    AT_ENTRY,
    ON_COST_AND_MARGIN,
    Compute,
    bankruptcy_value,
    base_rule,
    close_fee,
    entry_value,
    fee_word,
    figure,
    figures_of,
    given,
    initial_at_entry,
    is_blank,
    mark_value,
    other_surplus,
    price_at,
    rate_of,
    rule_of,
    tier_amount,
    wallet_of,
)

NEVER_REASONS = (Reason.NEVER_1X_LONG, Reason.NEVER_INVERSE_SHORT, Reason.NEVER_FAR_AWAY)
TICK = re.compile(r"\btick(?:\s*size)?[ =:]+([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)", re.IGNORECASE)
NEEDS = ("entry_price", "quantity", "mark_price", "leverage", "isolated_margin", "rate")
COLUMN = {"rate": "maint_margin_rate"}
INSTEAD = {"leverage": "initial_margin", "rate": "maintenance_margin"}


def compute_vector(vector: Vector, tiers: Tiers | None = None) -> float:
    """What the engine says where the venue printed expected_value.

    Parameters  vector : the row · tiers : one ladder that chooses rate and amount; None = the row's own
    Returns     float; inf where the engine says "never"
    Raises      NotComputed: the quantity is not known, or the row does not say what it needs
    """
    compute = find_quantity(vector.quantity_name)
    if compute is None:
        raise NotComputed(f"expected_quantity_name is unknown: {vector.quantity_name!r}")
    with np.errstate(all="ignore"):
        try:
            value = float(compute(vector, tiers))
        except ZeroDivisionError:
            raise NotComputed("an input that divides is 0") from None
    if np.isnan(value):
        raise NotComputed(f"the engine gives no figure: {_what_is_missing(vector)}")
    return value


def find_quantity(name: str) -> Compute | None:
    """How a quantity is computed, None where its name is not known."""
    canonical = canonical_name(name)
    if canonical in QUANTITIES:
        return QUANTITIES[canonical]
    bare, fee, at = split_suffixes(canonical)
    suffixed: dict[str, Compute] = {
        "initial_margin": lambda vector, _: _initial(vector, at) + _fee(vector, fee),
        "maintenance_margin": lambda vector, tiers: _maintenance(vector, tiers, fee=fee, at=at),
        "notional": QUANTITIES["notional_entry" if at == "entry" else "notional"],
        "bankruptcy_price": lambda vector, _: _bankruptcy_at(vector, vector.fee_rate),
    }
    if bare in suffixed:
        return suffixed[bare]
    parts = ratio_parts(canonical)
    return QUANTITIES.get(bare) or (_ratio_of(*parts) if parts else QUANTITIES.get(guess_name(canonical)))


def is_tiered(name: str) -> bool:
    """Whether a tier table decides the quantity, so that it can be computed without the row's own rate."""
    canonical = canonical_name(name)
    parts = ratio_parts(canonical) or ([], [])
    bare, _, _ = split_suffixes(canonical)
    return "maintenance_margin" in [*parts[0], *parts[1]] or bare in TIERED


def _what_is_missing(vector: Vector) -> str:
    missing = [COLUMN.get(name, name) for name in NEEDS if not given(getattr(vector, name))]
    return f"not given: {', '.join(missing)}" if missing else "the inputs are impossible"


def _liquidation_price(vector: Vector, tiers: Tiers | None) -> float:
    raw = raw_liquidation_price(vector, tiers)
    tick = tick_of(vector)
    rounding = base_rule(vector).rounding
    # A tolerance of less than a tick can only mean the price as the venue shows it.
    shown = vector.tolerance < tick or (vector.tolerance <= tick and rounding is Rounding.TICK_NEARER_MARK)
    return _displayed(vector, raw) if shown and 0 < raw < NEVER else raw


def raw_liquidation_price(vector: Vector, tiers: Tiers | None) -> float:
    """Liquidation price as the engine solves it; inf = never."""
    figures = figures_of(vector, tiers, wallet=wallet_of(vector) + other_surplus(vector))
    reason = figures.liquidation_reason[0]
    if reason in NEVER_REASONS:
        return NEVER
    if reason and not is_blank(vector) and given(rate_of(vector)):
        raise NotComputed(describe_reason(int(reason)))
    return float(figures.liquidation_price[0])


def tick_of(vector: Vector) -> float:
    """The tick a row's notes name, NaN where none."""
    found = TICK.search(vector.notes)
    return float(found[1]) if found else NAN


def _displayed(vector: Vector, raw: float) -> float:
    tick = tick_of(vector)
    step = exact(tick) if given(tick) else None
    return float(displayed_liquidation_price(base_rule(vector), raw, vector.side, step))


def _displayed_price(vector: Vector, tiers: Tiers | None) -> float:
    raw = raw_liquidation_price(vector, tiers)
    return _displayed(vector, raw) if 0 < raw < NEVER else raw


def _price_change(vector: Vector, tiers: Tiers | None) -> float:
    """What the margin that is added does to the liquidation price."""
    before = replace(
        vector,
        extra_margin=0.0,
        isolated_margin=vector.isolated_margin - (vector.extra_margin or 0.0),
        notes=re.sub(r"\badd\w*=", "added_later=", vector.notes),
    )
    return raw_liquidation_price(vector, tiers) - raw_liquidation_price(before, tiers)


def _bankruptcy_price(vector: Vector, tiers: Tiers | None) -> float:
    counted = vector.word("fee_basis") != "none" and base_rule(vector).fee_basis.value != ON_COST_AND_MARGIN
    if vector.fee_rate and counted:
        return _bankruptcy_at(vector, vector.fee_rate)
    price = float(figures_of(vector, tiers).bankruptcy_price[0])
    if np.isnan(price) and bankruptcy_value(vector, 0.0) <= 0:
        return NEVER
    nearer = base_rule(vector).rounding is Rounding.TICK_NEARER_MARK
    return _displayed(vector, price) if vector.tolerance < tick_of(vector) and not nearer else price


def _bankruptcy_at(vector: Vector, kappa: float) -> float:
    value = bankruptcy_value(vector, kappa)
    return NEVER if value <= 0 else price_at(vector, value)


def _continuous(vector: Vector) -> float:
    """Margin at a rate that grows with the coins, in settlement currency; NaN without the tokens."""
    slope = vector.number("slope_per_coin", "slope")
    coins = mark_value(vector) if vector.kind == INVERSE else vector.size
    price = 1.0 if vector.kind == INVERSE else vector.mark_price
    rate, growth = np.array([vector.number("base_rate")]), np.array([slope if given(slope) else 0.0])
    return float(continuous_margin(np.array([coins]), np.array([price]), rate, growth)[0])


def _initial(vector: Vector, at: str = "") -> float:
    if vector.noted("base_rate"):
        return _continuous(vector)
    if vector.noted("open_interest"):
        return market_margin(vector, None)
    value = mark_value(vector) if at == "mark" else entry_value(vector)
    return float(initial_margin(np.array([value]), np.array([vector.leverage]))[0])


def _maintenance(vector: Vector, tiers: Tiers | None, *, fee: str = "", at: str = "") -> float:
    if vector.noted("base_rate") and tiers is None:
        return _continuous(vector) + _fee(vector, fee)
    free = replace(vector, fee_rate=0.0, isolated_margin=0.0)
    rule = rule_of(free)
    if at:
        rule = replace(rule, maintenance_basis=Basis(at))
    figures = figures_of(free, tiers, rule=rule)
    margin = float(figures.maintenance_margin[0])
    if np.isnan(margin) and figures.reason[0] and not is_blank(free) and given(rate_of(free)):
        raise NotComputed(describe_reason(int(figures.reason[0])))
    # A row that states a fee and what it is charged on counts it; a total as reported has it already.
    stated = "any" if vector.word("fee_basis") not in {"", "none"} and not vector.noted("maint_total") else ""
    return margin + _fee(vector, fee or stated)


def _fee(vector: Vector, which: str) -> float:
    """A fee of the position: to close at bankruptcy, to open, at mark, or the one in the venue's condition."""
    if not which:
        return 0.0
    if which == "any":
        which = {
            AT_BANKRUPTCY: "close",
            AT_BANKRUPTCY_VALUE: "bankruptcy",
            AT_ENTRY: "entry",
            ON_COST_AND_MARGIN: "reserve",
        }.get(fee_word(vector), "mark")
    if which == "both":
        return _fee(vector, "entry") + _fee(vector, "close")
    if which == "close":
        return close_fee(vector)
    if which == "reserve":
        return reserve(vector)
    if which == "bankruptcy":
        return vector.fee_rate * bankruptcy_value(vector, vector.fee_rate)
    value = entry_value(vector) if which == "entry" else mark_value(vector)
    return float(entry_fee(np.array([value]), np.array([vector.fee_rate]))[0])


def _funding_payment(vector: Vector, tiers: Tiers | None) -> float:
    rate = vector.number("funding_rate", "funding", "rate")
    if not given(rate):
        raise NotComputed("notes: funding_rate is not given")
    return vector.side * rate * mark_value(vector)


def _return_on_margin(vector: Vector, tiers: Tiers | None) -> float:
    margin = initial_at_entry(vector) if given(vector.leverage) else wallet_of(vector)
    return figure("unrealised_pnl")(vector, tiers) / margin


def _margin_for_target(vector: Vector, tiers: Tiers | None) -> float:
    """Wallet with which the position would be liquidated at the price the notes name."""
    target = vector.number("target", "target_price", "target_liquidation_price", "liquidation_price", "L")
    distance = vector.number("distance", "target_distance")
    if given(distance) and not given(target):
        target = vector.mark_price * (1.0 - vector.side * distance)
    if not given(target):
        raise NotComputed("notes: target is not given")
    there = figures_of(replace(vector, mark_price=target, isolated_margin=0.0), tiers, wallet=0.0)
    return float(there.maintenance_margin[0] - there.unrealised_pnl[0])


def _distance(vector: Vector, tiers: Tiers | None) -> float:
    price = raw_liquidation_price(vector, tiers)
    return vector.side * (vector.mark_price - price) / vector.mark_price


def _amount(vector: Vector, tiers: Tiers | None) -> float:
    amount = tier_amount(vector)
    if not given(amount):
        raise NotComputed("notes: tier_floor, mmr_prev, mmr and amt_prev must be given")
    return amount


def _venue_ratio(vector: Vector, tiers: Tiers | None) -> float:
    if vector.noted("adjust"):
        return risk_rate(vector, tiers)
    figures = figures_of(vector, tiers)
    ratio, equity, value = (
        float(column[0]) for column in (figures.margin_ratio, figures.equity, figures.value)
    )
    return venue_margin_ratio(base_rule(vector), margin_ratio=ratio, equity=equity, value=value)


def _ratio_of(top: list[str], bottom: list[str]) -> Compute:
    def total(names: list[str], vector: Vector, tiers: Tiers | None) -> float:
        return sum(PARTS[name](vector, tiers) for name in names)

    return lambda vector, tiers: total(top, vector, tiers) / total(bottom, vector, tiers)


def _free_collateral(vector: Vector, tiers: Tiers | None) -> float:
    return figure("equity")(vector, tiers) - _initial(vector, "mark")


QUANTITIES: dict[str, Compute] = {
    "liquidation_price": _liquidation_price,
    "cross_liquidation_price": _liquidation_price,
    "displayed_liquidation_price": _displayed_price,
    "liquidation_price_change": _price_change,
    "distance_to_liquidation": _distance,
    "distance_to_liquidation_percent": lambda vector, tiers: 100.0 * _distance(vector, tiers),
    "bankruptcy_price": _bankruptcy_price,
    "bankruptcy_notional": closing_notional,
    "fillable_price": offered_price,
    "notional": lambda vector, tiers: float(figures_of(vector, tiers, wallet=0.0).value[0]),
    "notional_entry": lambda vector, _: entry_value(vector),
    "unrealized_pnl": lambda vector, tiers: float(figures_of(vector, tiers, wallet=0.0).unrealised_pnl[0]),
    "roe": _return_on_margin,
    "roe_pct": lambda vector, tiers: 100.0 * _return_on_margin(vector, tiers),
    "equity": figure("equity"),
    "wallet": lambda vector, _: wallet_of(vector),
    "effective_leverage": figure("effective_leverage"),
    "max_loss": figure("max_loss"),
    "initial_margin_oimf": market_margin,
    "initial_margin_rate": lambda vector, _: _initial(vector, "mark") / mark_value(vector),
    "maintenance_margin_rate": lambda vector, tiers: (
        _maintenance(vector, tiers, at="mark") / mark_value(vector)
    ),
    "maintenance_amount": _amount,
    "margin_ratio": figure("margin_ratio"),
    "margin_ratio_of_venue": _venue_ratio,
    "margin_usage": lambda vector, tiers: _initial(vector, "mark") / figure("equity")(vector, tiers),
    "risk_rate": risk_rate,
    "free_collateral": _free_collateral,
    "buying_power": lambda vector, tiers: _free_collateral(vector, tiers) * vector.leverage,
    "funding_payment": _funding_payment,
    "entry_fee": lambda vector, _: _fee(vector, "entry"),
    "close_fee": lambda vector, _: _fee(vector, "close"),
    "mark_fee": lambda vector, _: _fee(vector, "mark"),
    "order_cost": lambda vector, _: _initial(vector) + _fee(vector, "both"),
    "posinit": lambda vector, _: initial_at_entry(vector),
    "poscomm": lambda vector, _: reserve(vector),
    "posmargin": reserved_margin,
    "posmaint": reserved_maintenance_of,
    "margin_for_liquidation_price": _margin_for_target,
    "margin_to_add": lambda vector, tiers: _margin_for_target(vector, tiers) - wallet_of(vector),
}
PARTS: dict[str, Compute] = {
    **{
        name: QUANTITIES[name]
        for name in ("equity", "notional", "notional_entry", "wallet", "unrealized_pnl")
    },
    "maintenance_margin": lambda vector, tiers: _maintenance(replace(vector, fee_rate=0.0), tiers),
    "initial_margin": lambda vector, _: _initial(vector),
    "mark_fee": lambda vector, _: _fee(vector, "any"),
}
TIERED = frozenset(
    {
        "liquidation_price",
        "cross_liquidation_price",
        "displayed_liquidation_price",
        "distance_to_liquidation",
        "maintenance_margin",
        "margin_ratio",
        "margin_ratio_of_venue",
        "margin_for_liquidation_price",
        "margin_to_add",
    }
)
