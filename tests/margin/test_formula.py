"""Every rule's formula, read back from what is printed, gives the engine's price."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from margin.engine.figures import compute_figures
from margin.engine.formula import (
    Exact,
    Formula,
    boundary_formula,
    engine_formula,
    liquidation_formula,
    never_condition,
)
from margin.engine.reasons import Reason
from margin.engine.rules import RULES, FeeBasis, VenueRule, displayed_liquidation_price
from margin.engine.terms import liquidation_terms
from margin.engine.tiers import Ladder, TierRow, check_ladder, pack_ladders
from margin.engine.types import INVERSE, LINEAR, LONG, SHORT, pack_positions
from tests.margin.printed import evaluate

NAMED = [f"{rule.venue} {rule.kind} {rule.effective_from}" for rule in RULES]


def ladder_for(rule: VenueRule, unit: Decimal, slope: Decimal = Decimal(0)) -> Ladder:
    """Three tiers around a size, or the one growing rate; amounts follow from the identity where they count."""
    rates = ("6", "7", "8") if rule.rate_over_leverage else ("0.005", "0.01", "0.025")
    caps = [(unit * Decimal(part)).quantize(Decimal("1e-12")) for part in ("0.3", "0.8")]
    floors = [Decimal(0), *caps]
    scale = Decimal("0.1") if rule.rate_over_leverage else Decimal(1)
    rows = [
        TierRow(tier=place + 1, floor=floor, cap=cap, rate=Decimal(rate) * scale)
        for place, (floor, cap, rate) in enumerate(zip(floors, [*caps, None], rates, strict=True))
    ]
    if slope:
        rows = [replace(rows[0], cap=None, slope=slope)]
    return check_ladder(
        Ladder(
            label="test", symbol="test", rows=tuple(rows), in_contracts=rule.tiers_in_contracts,
            deduction=rule.deduction, in_coin=rule.kind == INVERSE,
        )
    )  # fmt: skip


@st.composite
def positions(draw: st.DrawFn, rule: VenueRule) -> Exact:
    entry = Decimal(draw(st.integers(10**2, 10**8))).scaleb(-4)
    # Of an inverse contract the size is quote notional, worth size ÷ price in coins.
    size = Decimal(draw(st.integers(10**7, 10**12))).scaleb(-3) * (entry if rule.kind == INVERSE else 1)
    leverage = Decimal(draw(st.integers(12, 400))).scaleb(-1)
    value = size / entry if rule.kind == INVERSE else size * entry
    # What a table may be off by where tiers meet, a cent, must be small beside what one tier adds.
    assume(value > 1000)
    extra = Decimal(draw(st.integers(0, 1500))).scaleb(-3)
    is_known = rule.rate_over_leverage or draw(st.booleans())
    return Exact(
        kind=rule.kind,
        side=draw(st.sampled_from((LONG, SHORT))),
        size=size,
        contracts=size,
        entry_price=entry,
        wallet=(value / leverage * (1 + extra)).quantize(Decimal("1e-12")),
        leverage=leverage if is_known else None,
        fee_rate=rule.default_fee_rate,
    )


def pack(held: Exact) -> Any:
    return pack_positions(
        side=[held.side], kind=[held.kind], size=[float(held.size)], contracts=[float(held.contracts)],
        entry_price=[float(held.entry_price)], wallet=[float(held.wallet)],
        mark_price=[float(held.entry_price)], fee_rate=[float(held.fee_rate)], rule=[0], ladder=[0],
        leverage=[float(held.leverage or "nan")],
    )  # fmt: skip


def printed_price(formula: Formula) -> Decimal:
    return evaluate(formula.numerator_numbers) / evaluate(formula.denominator_numbers)


def unit_of(held: Exact, rule: VenueRule) -> Decimal:
    counts = rule.tiers_in_contracts or (rule.tiers_in_coins and not held.is_inverse)
    return held.size if counts else held.entry_value


@pytest.mark.parametrize("rule", RULES, ids=NAMED)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_printed_gives_the_price(rule: VenueRule, data: st.DataObject) -> None:
    held = data.draw(positions(rule))
    sloped = rule.venue in {"deribit", "delta"} and data.draw(st.booleans())
    unit = unit_of(held, rule)
    ladder = ladder_for(rule, unit, Decimal("0.005") / unit if sloped else Decimal(0))
    tiers = pack_ladders([ladder])
    found = compute_figures(pack(held), tiers, [rule])
    terms = liquidation_terms(pack(held), tiers, [rule])
    reason, price = int(found.liquidation_reason[0]), float(found.liquidation_price[0])
    if reason:
        assert reason <= Reason.ALWAYS
        return
    tier = ladder.rows[int(terms.tier[0])]
    if terms.is_boundary[0]:
        formula = boundary_formula(held, tier.floor)
    else:
        formula = liquidation_formula(held, rule, tier, in_contracts=rule.tiers_in_contracts)
    printed = printed_price(formula)
    assert formula.value is not None
    assert float(printed) == pytest.approx(price, rel=1e-9)
    assert abs(printed / formula.value - 1) < Decimal("1e-15")
    # Every line says what its own numbers give.
    for line in formula.lines:
        assert float(evaluate(line.numbers)) == pytest.approx(float(line.value), rel=1e-12)
    # And what the venue shows of the engine's price is what it shows of the printed one.
    tick = Decimal("0.0001")
    shown, again = (
        displayed_liquidation_price(rule, value, held.side, tick) for value in (price, float(printed))
    )
    assert abs(shown - again) <= max(tick, abs(shown) * Decimal("1e-9"))


@pytest.mark.parametrize("rule", RULES, ids=NAMED)
@pytest.mark.parametrize("side", [LONG, SHORT])
def test_the_engines_own_terms_give_the_price_too(rule: VenueRule, side: int) -> None:
    value = Decimal(10) / 4 if rule.kind == INVERSE else Decimal(40)
    held = Exact(
        kind=rule.kind, side=side, size=Decimal(10), contracts=Decimal(10), entry_price=Decimal(4),
        wallet=value / 8, leverage=Decimal(10), fee_rate=rule.default_fee_rate,
    )  # fmt: skip
    ladder = ladder_for(rule, unit_of(held, rule) * 10)
    found = compute_figures(pack(held), pack_ladders([ladder]), [rule])
    terms = liquidation_terms(pack(held), pack_ladders([ladder]), [rule])
    kappa, amount, wallet = (Decimal(repr(float(x[0]))) for x in (terms.kappa, terms.amount, terms.wallet))
    formula = engine_formula(held, kappa=kappa, amount=amount, wallet=wallet)
    assert float(printed_price(formula)) == pytest.approx(float(found.liquidation_price[0]), rel=1e-9)


@pytest.mark.parametrize("rule", RULES, ids=NAMED)
def test_never_is_an_inequality_that_holds(rule: VenueRule) -> None:
    side = SHORT if rule.kind == INVERSE else LONG
    size, entry = Decimal(10), Decimal(4)
    value = size / entry if rule.kind == INVERSE else size * entry
    held = Exact(
        kind=rule.kind, side=side, size=size, contracts=size, entry_price=entry, wallet=value * 2,
        leverage=Decimal(1), fee_rate=rule.default_fee_rate,
    )  # fmt: skip
    ladder = ladder_for(rule, unit_of(held, rule) * 10)
    found = compute_figures(pack(held), pack_ladders([ladder]), [rule])
    assert np.isnan(found.liquidation_price[0])
    assert found.liquidation_reason[0] <= Reason.NEVER_FAR_AWAY
    told = never_condition(held, rule, ladder.rows[0], in_contracts=rule.tiers_in_contracts)
    left, right = told.numbers.split(" ≥ ")
    assert told.holds
    assert evaluate(left) >= evaluate(right)


def test_deribit_inverse_is_the_root_of_its_square() -> None:
    """500,000 USD long at 50,000 with 1 BTC: b n² + (1 + a) n − (W + N/E) = 0 (margin.md §0.1, DRB rule)."""
    rule = next(rule for rule in RULES if (rule.venue, rule.kind) == ("deribit", INVERSE))
    held = Exact(
        kind=INVERSE, side=LONG, size=Decimal(500_000), contracts=Decimal(50_000), entry_price=Decimal(50_000),
        wallet=Decimal(1), leverage=None, fee_rate=Decimal(0),
    )  # fmt: skip
    tier = TierRow(tier=1, floor=Decimal(0), cap=None, rate=Decimal("0.01"), slope=Decimal("0.00005"))
    formula = liquidation_formula(held, rule, tier, in_contracts=False)
    coins = Decimal(500_000) / printed_price(formula)
    assert abs(Decimal("0.00005") * coins**2 + Decimal("1.01") * coins - 11) < Decimal("1e-15")
    assert formula.numerator == "N ((1 + m) + √((1 + m) (1 + m) + 4 b c))"


def test_a_jump_is_the_price_at_which_the_value_reaches_a_tier() -> None:
    """A short of 100 worth 9,900 with 890 of margin: at 100 the value is 10,000, from where 10 % is due."""
    rule = next(rule for rule in RULES if (rule.venue, rule.effective_from) == ("gate", None))
    rule = replace(rule, fee_basis=FeeBasis.NONE)
    held = Exact(
        kind=LINEAR, side=SHORT, size=Decimal(100), contracts=Decimal(100), entry_price=Decimal(99),
        wallet=Decimal(890), leverage=None, fee_rate=Decimal(0),
    )  # fmt: skip
    rows = (
        TierRow(tier=1, floor=Decimal(0), cap=Decimal(10_000), rate=Decimal("0.01")),
        TierRow(tier=2, floor=Decimal(10_000), cap=None, rate=Decimal("0.1")),
    )
    ladder = check_ladder(Ladder(label="test", symbol="test", rows=rows, deduction=False))
    found = compute_figures(pack(held), pack_ladders([ladder]), [rule])
    terms = liquidation_terms(pack(held), pack_ladders([ladder]), [rule])
    # Equity there is 890 − 100 = 790: above 100 of the first tier, below 1,000 of the second.
    assert float(found.liquidation_price[0]) == pytest.approx(100)
    assert terms.is_boundary[0]
    formula = boundary_formula(held, rows[int(terms.tier[0])].floor)
    assert (formula.numerator_numbers, formula.denominator_numbers) == ("10,000", "100")
