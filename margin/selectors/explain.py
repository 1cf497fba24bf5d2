"""Why a liquidation price is what it is: the formula, the position's own numbers, the tier and the source."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from margin.engine.rules import Basis, FeeBasis, VenueRule
from margin.engine.tiers import Ladder, TierRow
from margin.selectors.ladders import day_of, ladder_of_instrument
from margin.selectors.rows import PositionRow, trim, venue_rule


@dataclass(frozen=True, slots=True)
class Input:
    """One symbol of the formula with its value and where it comes from."""

    symbol: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A formula as numerator over denominator, first in symbols, then in this position's numbers."""

    sentence: str
    numerator: str
    denominator: str
    numerator_numbers: str
    denominator_numbers: str
    result: str
    inputs: tuple[Input, ...]
    rule_source: str


def _plain(value: Decimal | float | None) -> str:
    if value is None:
        return "—"
    text = f"{value:,f}" if isinstance(value, Decimal) else f"{value:,.10g}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tier_at_liquidation(row: PositionRow, ladder: Ladder, liquidation: Decimal) -> TierRow | None:
    size = row.quantity * row.contract_size
    value = size * liquidation if row.kind == "linear" else size / liquidation
    measure = row.quantity if ladder.in_contracts else value
    inside = [
        tier for tier in ladder.rows if tier.floor <= measure and (tier.cap is None or measure <= tier.cap)
    ]
    return inside[-1] if inside else None


def explain_liquidation(row: PositionRow, *, as_of: datetime | None = None) -> Explanation | None:
    """None where there is no price to explain; the row's reason says why."""
    if row.closed_at is not None:
        return None
    rule = venue_rule(row.venue, row.kind, None if as_of is None else day_of(as_of))
    ladder = ladder_of_instrument(row.venue, row.symbol, as_of=as_of)
    if (
        rule is None
        or ladder is None
        or row.liquidation_price is None
        or rule.maintenance_basis is Basis.ENTRY
    ):
        return None
    tier = _tier_at_liquidation(row, ladder, row.liquidation_price)
    if tier is None:
        return None
    return _explain(row, rule, ladder, tier)


def _explain(row: PositionRow, rule: VenueRule, ladder: Ladder, tier: TierRow) -> Explanation:
    sign, other = ("−", "+") if row.side == "long" else ("+", "−")
    fee = rule.default_fee_rate if rule.fee_basis is FeeBasis.MARK else Decimal(0)
    rate, amount = tier.rate, tier.amount or Decimal(0)
    if ladder.in_contracts:
        rate, amount = rate - amount / row.quantity, Decimal(0)
    kappa = "(m + f)" if fee else "m"
    size, entry, wallet = row.quantity * row.contract_size, row.entry_price, row.isolated_wallet
    rate_numbers = f"({_plain(rate)} + {_plain(fee)})" if fee else _plain(rate)
    if row.kind == "linear":
        symbols = (f"q E {sign} W {sign} A", f"q (1 {sign} {kappa})")
        numbers = (
            f"{_plain(size)} × {_plain(entry)} {sign} {_plain(wallet)} {sign} {_plain(amount)}",
            f"{_plain(size)} × (1 {sign} {rate_numbers})",
        )
    else:
        symbols = (f"N (1 {other} {kappa})", f"N ÷ E {other} W {other} A")
        numbers = (
            f"{_plain(size)} × (1 {other} {rate_numbers})",
            f"{_plain(size)} ÷ {_plain(entry)} {other} {_plain(wallet)} {other} {_plain(amount)}",
        )
    return Explanation(
        sentence=f"Liquidation is where equity equals maintenance ({rule.name}, {row.kind}, at the mark).",
        numerator=symbols[0],
        denominator=symbols[1],
        numerator_numbers=numbers[0],
        denominator_numbers=numbers[1],
        result=f"{_plain(row.liquidation_price)} {row.quote_asset}",
        inputs=_inputs(row, tier, trim(rate) or rate, amount, fee),
        rule_source=rule.source,
    )


def _inputs(
    row: PositionRow, tier: TierRow, rate: Decimal, amount: Decimal, fee: Decimal
) -> tuple[Input, ...]:
    size = row.quantity * row.contract_size
    unit = row.base_asset if row.kind == "linear" else row.quote_asset
    found = [
        Input("q" if row.kind == "linear" else "N", f"{_plain(size)} {unit}", "from the position's events"),
        Input("E", _plain(row.entry_price), "average entry price"),
        Input(
            "W", _plain(row.isolated_wallet), f"isolated wallet in {row.settle_asset}, without unrealised P&L"
        ),
        Input("m", f"{_plain(rate * 100)} %", f"maintenance rate of tier {tier.tier}: {tier.source}"),
        Input("A", _plain(amount), f"maintenance amount of tier {tier.tier}"),
    ]
    if fee:
        found.append(Input("f", f"{_plain(fee * 100)} %", "taker fee inside the venue's condition"))
    return tuple(found)
