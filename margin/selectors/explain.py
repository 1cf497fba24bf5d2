"""Why a liquidation price is what it is: the formula, the position's own numbers, the tier and the source."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from margin.engine.figures import compute_figures
from margin.engine.formula import (
    Condition,
    Exact,
    Formula,
    Line,
    boundary_formula,
    engine_formula,
    liquidation_formula,
    never_condition,
    plain_number,
)
from margin.engine.reasons import Reason, describe_reason
from margin.engine.rules import Basis, FeeBasis, Rounding, VenueRule, displayed_liquidation_price
from margin.engine.terms import Terms, liquidation_terms
from margin.engine.tiers import TierRow
from margin.engine.types import INVERSE, KINDS, LONG
from margin.selectors.rows import PositionRow
from margin.selectors.single import Single, pack_single

# What the formula gives must be what the engine gave; further apart, the engine's own terms are shown instead.
AGREEMENT = 1e-9
NEVER = frozenset({Reason.NEVER_1X_LONG, Reason.NEVER_INVERSE_SHORT})


@dataclass(frozen=True, slots=True)
class Input:
    """One symbol of the formula with its value and where it comes from."""

    symbol: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A formula in symbols and in this position's numbers, or in words why there is no price.

    result is what the venue shows, raw what the formula gives where the two differ; missing is what an unknown lacks.
    """

    sentence: str
    formula: Formula | None = None
    raw: str = ""
    result: str = ""
    rounding: str = ""
    words: str = ""
    condition: Condition | None = None
    lines: tuple[Line, ...] = ()
    missing: str = ""
    changed: str = ""
    inputs: tuple[Input, ...] = ()
    tier_words: str = ""
    tier_table: tuple[str, str] = ("", "")
    tier_source: str = ""
    tier_since: date | None = None
    tier_age_days: int = 0
    tier_recorded_at: datetime | None = None
    rule_source: str = ""
    rule_since: date | None = None


def explain_liquidation(row: PositionRow, *, as_of: datetime | None = None) -> Explanation | None:
    """None once it is closed: then nothing liquidates it any more."""
    if row.closed_at is not None:
        return None
    single = pack_single(row, as_of=as_of)
    if single is None:
        return _without_rule_or_tiers(row)
    return _explain(row, single)


def _without_rule_or_tiers(row: PositionRow) -> Explanation:
    why = row.liquidation_reason or row.reason or ""
    what = f"the margin rule of {row.venue_name} for {row.kind} contracts, or the tier table of {row.symbol}"
    return Explanation(
        sentence="Without the venue’s rule and its tiers there is no formula.", words=why, missing=what
    )


def _explain(row: PositionRow, single: Single) -> Explanation:
    figures = compute_figures(single.positions, single.tiers, single.rules)
    terms = liquidation_terms(single.positions, single.tiers, single.rules)
    reason = int(figures.liquidation_reason[0])
    place = int(terms.tier[0]) if terms.tier[0] >= 0 else int(figures.tier[0])
    tier = single.ladder.rows[max(place, 0)]
    held = _exact(row, single)
    known = _known(single, tier if place >= 0 and reason not in NEVER else None)
    if not reason:
        formula = _formula(held, single, terms, tier, float(figures.liquidation_price[0]))
        return _price(row, single, held, formula, terms=terms, tier=tier, known=known)
    words = describe_reason(reason)
    if reason in NEVER:
        return _never(row, single, held, words=words, known=known)
    if reason <= Reason.ALWAYS:
        return Explanation(sentence=_sentence(single), words=words, **known)
    return Explanation(
        sentence=_sentence(single), words=words, missing=_missing(row, single, reason), **known
    )


def _exact(row: PositionRow, single: Single) -> Exact:
    return Exact(
        kind=KINDS[row.kind],
        side=single.side,
        size=row.quantity * row.contract_size,
        contracts=row.quantity,
        entry_price=row.entry_price,
        wallet=row.isolated_wallet,
        leverage=row.leverage or None,
        fee_rate=single.rule.default_fee_rate,
    )


def _formula(held: Exact, single: Single, terms: Terms, tier: TierRow, price: float) -> Formula:
    if terms.is_boundary[0]:
        limits = [limit for limit in (tier.floor, tier.cap) if limit]
        found = [boundary_formula(held, limit) for limit in limits]
        return min(found, key=lambda formula: abs(float(formula.value or 0) - price))
    formula = liquidation_formula(held, single.rule, tier, in_contracts=single.ladder.in_contracts)
    if formula.value is not None and abs(float(formula.value) / price - 1) <= AGREEMENT:
        return formula
    kappa, amount, wallet = (
        Decimal(repr(float(column[0]))) for column in (terms.kappa, terms.amount, terms.wallet)
    )
    return engine_formula(held, kappa=kappa, amount=amount, wallet=wallet)


def _price(
    row: PositionRow,
    single: Single,
    held: Exact,
    formula: Formula,
    *,
    terms: Terms,
    tier: TierRow,
    known: dict[str, Any],
) -> Explanation:
    raw = float(formula.value or 0)
    shown = displayed_liquidation_price(single.rule, raw, single.side, row.tick_size)
    differs = single.rule.rounding not in {Rounding.NONE, Rounding.DECIMALS_AGAINST_USER}
    changed = row.liquidation_price is not None and row.liquidation_price != shown
    jump = (
        f"At this price its value reaches the limit of a tier: tier {tier.tier}’s rate then applies to the whole "
        "position, and maintenance jumps over its equity."
        if terms.is_boundary[0]
        else ""
    )
    return Explanation(
        sentence=_sentence(single),
        words=jump,
        formula=formula,
        lines=formula.lines,
        raw=f"{plain_number(Decimal(f'{raw:.14g}'))}" if differs else "",
        result=f"{plain_number(shown)} {row.quote_asset}",
        rounding=_rounding(single.rule, single.side, row.tick_size),
        changed="The position, its tiers or the rule changed since the price above was computed."
        if changed
        else "",
        inputs=_inputs(row, single, formula.inputs, tier, is_boundary=bool(terms.is_boundary[0])),
        **known,
    )


def _never(
    row: PositionRow, single: Single, held: Exact, *, words: str, known: dict[str, Any]
) -> Explanation:
    """The inequality is of the tier at which the value nears nothing: the first, unless tiers do not move."""
    moves = single.rule.maintenance_basis is Basis.MARK and not single.ladder.in_contracts
    figures = compute_figures(single.positions, single.tiers, single.rules)
    tier = single.ladder.rows[0 if moves else max(0, int(figures.tier[0]))]
    found = never_condition(held, single.rule, tier, in_contracts=single.ladder.in_contracts)
    return Explanation(
        sentence=_sentence(single),
        words=words,
        condition=found if found.holds else None,
        lines=found.lines,
        inputs=_inputs(row, single, found.inputs, tier, is_boundary=False),
        **known,
    )


def _sentence(single: Single) -> str:
    rule = single.rule
    kind = {0: "linear", INVERSE: "inverse"}.get(rule.kind, "quanto")
    at = "at the mark" if rule.maintenance_basis is Basis.MARK else "at the entry price"
    fee = {
        FeeBasis.NONE: "",
        FeeBasis.MARK: ", plus the fee on the value at the mark",
        FeeBasis.BANKRUPTCY: ", plus the fee at the bankruptcy price",
        FeeBasis.COST_AND_MARGIN: ", plus the fee on cost and margin",
    }[rule.fee_basis]
    return f"Liquidation is where equity equals maintenance, valued {at}{fee} ({rule.name}, {kind})."


def _known(single: Single, tier: TierRow | None) -> dict[str, Any]:
    """What holds whatever the outcome: the document, and the tier where one applies."""
    found: dict[str, Any] = {"rule_source": single.rule.source, "rule_since": single.rule.effective_from}
    if tier is not None:
        found |= {
            "tier_words": _tier_words(single, tier),
            "tier_table": (single.ladder.label, single.ladder.symbol),
            "tier_source": tier.source,
            "tier_since": single.tiers_since,
            "tier_age_days": single.tiers_age_days,
            "tier_recorded_at": single.tiers_recorded_at,
        }
    return found


def _tier_words(single: Single, tier: TierRow) -> str:
    if single.ladder.in_contracts:
        unit = "contracts"
    elif single.rule.tiers_in_coins:
        unit = "coins"
    else:
        unit = "of value"
    upper = "up" if tier.cap is None else f"to {plain_number(tier.cap)}"
    text = f"Tier {tier.tier} of {len(single.ladder.rows)}: from {plain_number(tier.floor)} {upper} {unit}"
    return f"{text}, rate {plain_number(tier.rate * 100)} %" if not single.rule.rate_over_leverage else text


def _rounding(rule: VenueRule, side: int, tick_size: Decimal) -> str:
    tick, up = plain_number(tick_size), "up" if side == LONG else "down"
    return {
        Rounding.NONE: "",
        Rounding.DECIMALS_AGAINST_USER: f"Rounded {up} at decimal {rule.decimals}, towards the mark.",
        Rounding.TICK_AGAINST_USER: f"{rule.name} shows it on the tick of {tick}, rounded {up}: towards the mark.",
        Rounding.TICK_NEAREST: f"{rule.name} shows it on the nearest tick of {tick}.",
        Rounding.TICK_DOWN: f"{rule.name} shows it on the tick of {tick}, rounded down.",
        Rounding.TICK_NEARER_MARK: f"{rule.name} shows it one tick ({tick}) nearer the mark than its formula gives.",
        Rounding.SATOSHI_THEN_TICK: f"{rule.name} counts the coins of one contract in whole satoshi, then rounds "
        f"{up} to the tick of {tick}: towards the mark.",
    }[rule.rounding]


def _missing(row: PositionRow, single: Single, reason: int) -> str:
    label, last = f"{single.ladder.label} {single.ladder.symbol}", single.ladder.rows[-1]
    ends = "has no end" if last.cap is None else f"ends at {plain_number(last.cap)}"
    table = (
        f"a tier of the table {label} for this size; it {ends}, and sizes that no row covers are not guessed"
    )
    return {
        Reason.NO_MARK: f"a mark price of {row.symbol}",
        Reason.NO_ENTRY: "the entry price of the position",
        Reason.NO_SIZE: "the size of the position",
        Reason.NO_WALLET: "the isolated margin of the position",
        Reason.NO_LEVERAGE: f"the leverage that is set at {row.venue_name}: the rate is the tier’s factor ÷ leverage",
        Reason.BEYOND_TIERS: table,
        Reason.TIER_GAP: table,
        Reason.BEYOND_TIERS_AT_LIQUIDATION: table,
        Reason.TIER_GAP_AT_LIQUIDATION: table,
        Reason.BAD_INPUT: "an input that a venue could have sent: see the events of the position",
    }.get(Reason(reason), "")


def _inputs(
    row: PositionRow, single: Single, values: Mapping[str, Decimal], tier: TierRow, *, is_boundary: bool
) -> tuple[Input, ...]:
    unit = row.quote_asset if "N" in values else row.base_asset
    tier_name = f"tier {tier.tier}"
    told = {
        "q": (f"{{}} {unit}", "size, from the position’s events"),
        "N": (f"{{}} {unit}", "size, from the position’s events"),
        "E": ("{}", "average entry price, from the position’s events"),
        "W": ("{}", f"isolated wallet in {row.settle_asset}, without unrealised P&L"),
        "leverage": ("{}x", "set at the venue, from the position’s events"),
        "m": ("%", f"maintenance rate of {tier_name}"),
        "A": ("{}", f"maintenance amount of {tier_name}"),
        "b": ("{}", f"growth of the rate for each unit of size, {tier_name}"),
        "n": (
            "{}",
            f"limit of {tier_name}" if is_boundary else "size that the tiers count",
        ),
        "n₀": ("{}", f"where {tier_name} begins"),
        "f": ("%", _fee_words(single.rule)),
        "g": ("%", "one funding payment, as the venue’s rule reserves it"),
        "k": (
            "{}",
            f"adjustment factor of {tier_name}" if single.rule.rate_over_leverage else "rate in force",
        ),
        "a": ("{}", "amount in force, less what the rule reserves"),
    }
    found = []
    for symbol, value in values.items():
        form, source = told[symbol]
        text = f"{plain_number(value * 100)} %" if form == "%" else form.format(plain_number(value))
        found.append(Input(symbol, text, source))
    return tuple(found)


def _fee_words(rule: VenueRule) -> str:
    if rule.extra_margin_fee:
        return "taker fee, which margin beyond the initial also moves"
    return {
        FeeBasis.MARK: "fee inside the venue’s condition, on the value at the mark",
        FeeBasis.BANKRUPTCY: "taker fee, on the value at bankruptcy",
        FeeBasis.COST_AND_MARGIN: "taker fee, on cost and initial margin",
        FeeBasis.NONE: "fee",
    }[rule.fee_basis]
