"""What a row's tokens make of its numbers: the rule, the wallet, the tier and the figures."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from margin.engine.figures import compute_figures
from margin.engine.initial import closing_fee
from margin.engine.reasons import describe_reason
from margin.engine.rules import RULES, Basis, FeeBasis, VenueRule
from margin.engine.solve import price_of_value, reduce_to_value, solve_value
from margin.engine.types import INVERSE, LINEAR, QUANTO, Figures, Positions, Tiers, pack_positions
from margin.engine.vectors.rows import NAN, NUMBER, SIDES, NotComputed, Vector

Compute = Callable[[Vector, Tiers | None], float]
DAY = re.compile(r"\b(20[0-9]{2})-(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01]))?\b")
RENAMED = {"gateio": "gate", "huobi": "htx", "okex": "okx"}
# A fee as money, whatever the mark: what the word in fee_basis charges it on.
AT_BANKRUPTCY, AT_BANKRUPTCY_VALUE, AT_ENTRY, ON_COST_AND_MARGIN = (
    "bankruptcy",
    "bankruptcy_value",
    "entry",
    "cost and margin",
)
FEE_WORDS = frozenset(
    {
        "none",
        "mark",
        AT_BANKRUPTCY,
        AT_BANKRUPTCY_VALUE,
        AT_ENTRY,
        "cost",
        "cost_and_margin",
        ON_COST_AND_MARGIN,
    }
)


def given(value: float) -> bool:
    """Whether the row, or a token of its notes, says the number."""
    return not np.isnan(value)


def entry_value(vector: Vector) -> float:
    """Value at entry in settlement currency."""
    return vector.size / vector.entry_price if vector.kind == INVERSE else vector.size * vector.entry_price


def mark_value(vector: Vector) -> float:
    """Value at mark in settlement currency."""
    return vector.size / vector.mark_price if vector.kind == INVERSE else vector.size * vector.mark_price


def initial_at_entry(vector: Vector) -> float:
    """Initial margin at entry; NaN where the row gives no leverage."""
    return entry_value(vector) / vector.leverage


def added_margin(vector: Vector) -> float:
    """What was added to the wallet after the position was opened."""
    add = vector.number("add", "added", "add_margin")
    if not given(add):
        return vector.extra_margin
    # The column and the token may say the same thing.
    return add if vector.extra_margin == add else vector.extra_margin + add


def wallet_of(vector: Vector) -> float:
    """Isolated wallet: given, or initial margin at entry, plus what was added."""
    if given(vector.isolated_margin):
        add = vector.number("add", "added", "add_margin")
        return vector.isolated_margin + (add if given(add) else 0.0)
    return initial_at_entry(vector) + added_margin(vector)


def basis_of(vector: Vector) -> Basis | None:
    """Where the row says maintenance is valued."""
    word = vector.word("mm_basis")
    if word and word not in {basis.value for basis in Basis}:
        raise NotComputed(f"notes: mm_basis is unknown: {word!r}")
    return Basis(word) if word else None


def venue_rules(vector: Vector) -> list[VenueRule]:
    """The rules of the row's venue and kind of contract, oldest first; a label without rules has none."""
    kind = LINEAR if vector.kind == QUANTO else vector.kind
    same = [rule for rule in RULES if rule.kind == vector.kind] or [
        rule for rule in RULES if rule.kind == kind
    ]
    label = RENAMED.get(vector.venue, vector.venue)
    for names in ({label}, {f"{label}_linear", f"{label}_inverse", f"{label}_quanto"}):
        own = [rule for rule in same if rule.venue in names]
        if own:
            return own
    family = label.split("_")[0]
    return [rule for rule in same if rule.venue.split("_")[0] == family]


def rule_of(vector: Vector) -> VenueRule:
    """The venue's rule with the bases the row names; another venue has the row's own tokens alone."""
    rule = base_rule(vector)
    return replace(
        rule,
        kind=LINEAR if vector.kind == QUANTO else vector.kind,
        maintenance_basis=basis_of(vector) or rule.maintenance_basis,
        # A fee charged elsewhere than at mark enters as money: see fee_money.
        fee_basis=FeeBasis.MARK if fee_word(vector) == FeeBasis.MARK.value else FeeBasis.NONE,
        **_given_by_row(rule, vector),
    )


def base_rule(vector: Vector) -> VenueRule:
    """The venue's rule as it stands: of the basis the row names, else of the day its source names, else the newest."""
    own, basis = venue_rules(vector), basis_of(vector)
    dated = [rule for rule in own if _in_force(rule, vector)] or own
    agreeing = [[rule for rule in rules if basis in {None, rule.maintenance_basis}] for rules in (dated, own)]
    for rules in (*agreeing, dated):
        if rules:
            return max(rules, key=lambda rule: rule.effective_from or date.min)
    return replace(RULES[0], fee_basis=FeeBasis.MARK)


def _given_by_row(rule: VenueRule, vector: Vector) -> dict[str, Any]:
    """Fields of a rule that the row's own numbers already contain, put out of force; its amount always counts."""
    told_apart = not given(vector.isolated_margin) or added_margin(vector) != 0
    counts_extra = vector.fee_rate and given(vector.leverage) and told_apart
    return {
        "deduction": True,
        "tiers_in_coins": vector.kind != INVERSE and bool(vector.noted("slope_per_coin")),
        "rate_over_leverage": False,
        "funding_rate": Decimal(0),
        "extra_margin_fee": rule.extra_margin_fee if counts_extra else 0,
    }


def table_rule(vector: Vector, rule: VenueRule) -> VenueRule:
    """The row's rule where a tier table and not the row gives rate and amount."""
    own = base_rule(vector)
    return replace(
        rule,
        deduction=own.deduction,
        tiers_in_coins=own.tiers_in_coins,
        rate_over_leverage=own.rate_over_leverage,
    )


def _in_force(rule: VenueRule, vector: Vector) -> bool:
    """Whether a rule was in force on the last day the row's source names; always where it names none."""
    days = [date(int(year), int(month), int(day or 28)) for year, month, day in DAY.findall(vector.source)]
    return not days or rule.effective_from is None or rule.effective_from <= max(days)


def fee_word(vector: Vector) -> str:
    """On which value the fee in the condition is charged: as the row says, else as the venue's rule does."""
    word = vector.word("fee_basis")
    if word and word not in FEE_WORDS:
        raise NotComputed(f"notes: fee_basis is unknown: {word!r}")
    if not word:
        # A total as reported contains all fees.
        return FeeBasis.NONE.value if vector.noted("maint_total") else base_rule(vector).fee_basis.value
    return {"cost_and_margin": ON_COST_AND_MARGIN, "cost": AT_ENTRY}.get(word, word)


def fee_money(vector: Vector) -> float:
    """The part of the fee in the condition that the mark does not change, settlement currency."""
    word = fee_word(vector)
    if not vector.fee_rate or word in {FeeBasis.NONE.value, FeeBasis.MARK.value}:
        return 0.0
    if word == AT_BANKRUPTCY_VALUE:
        return vector.fee_rate * bankruptcy_value(vector, vector.fee_rate)
    if fee_cancels(vector):
        return 0.0
    if word == AT_ENTRY:
        return vector.fee_rate * entry_value(vector)
    return close_fee(vector) if word == AT_BANKRUPTCY else cost_and_margin_fee(vector)


def fee_cancels(vector: Vector) -> bool:
    """Whether margin and maintenance reserve the same fee: where the wallet is computed, it is left out of both.

    MEXC's initial margin holds no reserve, so there the fee counts all the same.
    """
    return not given(vector.isolated_margin) and base_rule(vector).fee_basis.value != AT_BANKRUPTCY


def close_fee(vector: Vector) -> float:
    """Fee to close at the bankruptcy price of the initial margin."""
    fee = closing_fee(
        kind=np.array([_arithmetic(vector)], dtype=np.int8),
        side=np.array([vector.side], dtype=np.int8),
        entry_price=np.array([vector.entry_price]),
        size=np.array([vector.size]),
        wallet=np.array([initial_at_entry(vector)]),
        fee_rate=np.array([vector.fee_rate]),
    )
    return float(fee[0])


def cost_and_margin_fee(vector: Vector) -> float:
    """Fee on the value at entry, the initial margin and what was added."""
    return vector.fee_rate * (entry_value(vector) + initial_at_entry(vector) + added_margin(vector))


def rate_of(vector: Vector) -> float:
    """Maintenance rate in force: the row's, or what its tokens make of it."""
    adjust = vector.number("adjust", "adjust_factor")
    if given(adjust) and not given(vector.rate):
        return adjust / vector.leverage
    for rate in (vector.number("base_rate"), vector.rate, vector.number("mmr")):
        if given(rate):
            return rate
    return NAN


def tier_amount(vector: Vector) -> float:
    """Amount of a tier by the identity A = A_prev + floor · (rate − rate_prev); NaN without the tokens."""
    floor, before = vector.number("tier_floor"), vector.number("mmr_prev", "rate_prev")
    after, amount = vector.number("mmr", "rate"), vector.number("amt_prev", "amount_prev")
    return (amount if given(amount) else 0.0) + floor * ((after if given(after) else vector.rate) - before)


def row_tier(vector: Vector) -> Tiers:
    """The row's own rate and amount as a ladder of one open tier."""
    slope = vector.number("slope_per_coin", "slope")
    total = vector.number("maint_total")
    if given(total):
        valued = (
            entry_value(vector) if rule_of(vector).maintenance_basis is Basis.ENTRY else mark_value(vector)
        )
        return single_tier(total / valued, 0.0, 0.0)
    amount = vector.amount
    if not amount and given(tier_amount(vector)):
        amount = tier_amount(vector)
    return single_tier(rate_of(vector), amount - fee_money(vector), slope if given(slope) else 0.0)


def single_tier(rate: float, amount: float, slope: float = 0.0) -> Tiers:
    """A ladder of one open tier.

    Parameters  rate : maintenance rate, NaN = not known · amount : settlement currency
                slope : growth of the rate per unit of size
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
        slope=np.array([slope]),
    )


def figures_of(
    vector: Vector, tiers: Tiers | None, *, wallet: float | None = None, rule: VenueRule | None = None
) -> Figures:
    """The engine's figures of a row.

    Parameters  vector : the row · tiers : a ladder that chooses rate and amount; None = the row's own
                wallet, rule : other ones than the row's
    Returns     Figures, one row
    """
    held = wallet_of(vector) if wallet is None else wallet
    chosen = rule or rule_of(vector)
    if tiers is None:
        return compute_figures(_position(vector, held), row_tier(vector), [chosen])
    return compute_figures(_position(vector, held), tiers, [table_rule(vector, chosen)])


def _arithmetic(vector: Vector) -> int:
    """A quanto contract whose size is in settlement units is linear in its arithmetic."""
    return LINEAR if vector.kind == QUANTO else vector.kind


def _position(vector: Vector, wallet: float) -> Positions:
    return pack_positions(
        side=[vector.side],
        kind=[_arithmetic(vector)],
        size=[vector.size],
        contracts=[vector.quantity],
        entry_price=[vector.entry_price],
        wallet=[wallet],
        mark_price=[vector.mark_price],
        fee_rate=[vector.fee_rate],
        rule=[0],
        ladder=[0],
        leverage=[vector.leverage],
    )


def bankruptcy_value(vector: Vector, kappa: float) -> float:
    """Value of the position where its equity is kappa times it."""
    kind, side = np.array([_arithmetic(vector)], dtype=np.int8), np.array([vector.side], dtype=np.int8)
    entry, size = np.array([vector.entry_price]), np.array([vector.size])
    sign, constant = reduce_to_value(kind, side, entry, size, np.array([wallet_of(vector)]))
    return float(solve_value(sign, constant, np.array([kappa]), np.zeros(1))[0])


def price_at(vector: Vector, value: float) -> float:
    """Price at which the position is worth value."""
    kind = np.array([_arithmetic(vector)], dtype=np.int8)
    return float(price_of_value(kind, np.array([vector.size]), np.array([value]))[0])


def others_of(vector: Vector) -> list[Vector]:
    """The other cross positions a row names as other=side,quantity,entry,mark,rate,amount."""
    return [_other(vector, text) for text in vector.noted("other")]


def _other(vector: Vector, text: str) -> Vector:
    side, *numbers = (part.strip() for part in text.split(","))
    parts = [NUMBER.match(number) for number in numbers]
    if side.lower() not in SIDES or len(parts) not in {4, 5} or not all(parts):
        raise NotComputed(f"notes: other must be side,quantity,entry,mark,rate,amount, not {text!r}")
    quantity, entry, mark, rate, *amount = [float(part[0]) for part in parts if part]
    return replace(
        vector,
        side=SIDES[side.lower()],
        quantity=quantity,
        contract_size=1.0,
        entry_price=entry,
        mark_price=mark,
        rate=rate,
        amount=amount[0] if amount else 0.0,
        isolated_margin=0.0,
        notes=";".join(f"{key}={vector.word(key)}" for key in ("mm_basis", "fee_basis") if vector.word(key)),
    )


def other_surplus(vector: Vector) -> float:
    """What the other cross positions add to the common wallet: PnL less maintenance, frozen at their marks."""
    return sum(
        float(figures.unrealised_pnl[0] - figures.maintenance_margin[0])
        for figures in (figures_of(other, None) for other in others_of(vector))
    )


def figure(name: str) -> Compute:
    """A column of Figures, as it is."""

    def read(vector: Vector, tiers: Tiers | None) -> float:
        figures = figures_of(vector, tiers)
        value = float(getattr(figures, name)[0])
        if np.isnan(value) and figures.reason[0] and not is_blank(vector):
            raise NotComputed(describe_reason(int(figures.reason[0])))
        return value

    return read


def is_blank(vector: Vector) -> bool:
    return not (given(vector.entry_price) and given(vector.quantity) and given(wallet_of(vector)))
