"""The liquidation price of one position as its venue's formula, in symbols and in exact numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

from margin.engine.rules import Basis, FeeBasis, VenueRule
from margin.engine.tiers import TierRow
from margin.engine.types import INVERSE

# Enough that what is printed gives the price to the last digit a venue shows.
EXACT = Context(prec=50, rounding=ROUND_HALF_EVEN)
PRINTED = Context(prec=18, rounding=ROUND_HALF_EVEN)
SYMBOL = re.compile(r"[A-Za-z]+[₀′]?")
ZERO, ONE = Decimal(0), Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """One position in exact numbers: columns of Positions; leverage None = not known."""

    kind: int
    side: int
    size: Decimal
    contracts: Decimal
    entry_price: Decimal
    wallet: Decimal
    leverage: Decimal | None
    fee_rate: Decimal

    @property
    def is_inverse(self) -> bool:
        return self.kind == INVERSE

    @property
    def sign(self) -> int:
        """Of the growth of equity with the position's value."""
        return -self.side if self.is_inverse else self.side

    @property
    def entry_value(self) -> Decimal:
        return self.size / self.entry_price if self.is_inverse else self.size * self.entry_price


@dataclass(frozen=True, slots=True)
class Line:
    """A symbol of the formula that follows from others."""

    symbol: str
    symbols: str
    numbers: str
    value: Decimal
    meaning: str

    @property
    def written(self) -> str:
        return plain_number(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """Numerator over denominator, in symbols and in numbers; the lines define what is neither input nor constant.

    Notes   value : of the fraction of the printed numbers, None where the denominator is not positive
            symbols : those of the inputs, with what was put in for them
    """

    numerator: str
    denominator: str
    numerator_numbers: str
    denominator_numbers: str
    value: Decimal | None
    lines: tuple[Line, ...] = ()
    inputs: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """An inequality in symbols and in numbers; holds : for the exact numbers."""

    symbols: str
    numbers: str
    holds: bool
    lines: tuple[Line, ...]
    inputs: Mapping[str, Decimal]


@dataclass(slots=True)
class _Draft:
    """Symbols with their numbers as they are gathered."""

    inputs: dict[str, Decimal] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def __getitem__(self, symbol: str) -> Decimal:
        found = [line.value for line in self.lines if line.symbol == symbol]
        return found[0] if found else self.inputs[symbol]

    def define(self, symbol: str, template: str, value: Decimal, meaning: str) -> str:
        exact = PRINTED.plus(value)
        self.lines.append(Line(symbol, in_symbols(template), self.numbers(template), exact, meaning))
        return symbol

    def numbers(self, template: str) -> str:
        return SYMBOL.sub(lambda found: plain_number(self[found.group()]), template)

    def finish(self, numerator: str, denominator: str, values: tuple[Decimal, Decimal]) -> Formula:
        above, below = values
        return Formula(
            numerator=in_symbols(numerator),
            denominator=in_symbols(denominator),
            numerator_numbers=self.numbers(numerator),
            denominator_numbers=self.numbers(denominator),
            value=above / below if below > 0 else None,
            lines=tuple(self.lines),
            inputs=self.inputs,
        )


def plain_number(value: Decimal) -> str:
    """Every digit, in groups, without an exponent or padding zeros; a negative number in brackets."""
    text = f"{abs(value):,f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"(−{text})" if value < 0 else text


def in_symbols(template: str) -> str:
    return template.replace(" × ", " ")


def liquidation_formula(held: Exact, rule: VenueRule, tier: TierRow, *, in_contracts: bool) -> Formula:
    """Where equity meets maintenance in one tier, as the rule puts it.

    Parameters  held : the position · rule : its venue's · tier : in force at the liquidation price
                in_contracts : the tiers count contracts
    Returns     Formula
    Notes       e(P) = κ·v(P) − a of margin.engine.solve, with κ and a written out in the rule's own terms.
                Source: VenueRule.source
    """
    with localcontext(EXACT):
        draft = _begin(held)
        margin = _count_margin(draft, held, rule)
        rate, amount = _rate_and_amount(draft, held, rule, tier, in_contracts=in_contracts)
        charges = _charges(draft, held, rule, rate, amount)
        by_entry = rule.maintenance_basis is Basis.ENTRY
        kappa = [] if by_entry else [rate]
        if rule.fee_basis is FeeBasis.MARK:
            draft.inputs["f"] = held.fee_rate
            kappa.append("f")
        if tier.slope and not by_entry and not _size_is_fixed(held, rule, in_contracts=in_contracts):
            return _sloped(draft, held, margin, charges, kappa)
        return _straight(draft, held, margin, charges, kappa)


def boundary_formula(held: Exact, limit: Decimal) -> Formula:
    """The price at which the position's value reaches the limit of a tier.

    Parameters  held : the position · limit : of the tier, in the settlement currency
    Returns     Formula
    """
    with localcontext(EXACT):
        draft = _begin(held)
        draft.inputs["n"] = limit
        if held.is_inverse:
            return draft.finish("N", "n", (held.size, limit))
        return draft.finish("n", "q", (limit, held.size))


def engine_formula(held: Exact, *, kappa: Decimal, amount: Decimal, wallet: Decimal) -> Formula:
    """The one equation with the engine's own κ and a, for a rule that is not written out.

    Parameters  held : the position · kappa, amount, wallet : in force at the liquidation price
    Returns     Formula
    """
    with localcontext(EXACT):
        draft = _begin(held)
        draft.inputs |= {"W": wallet, "k": kappa, "a": amount}
        return _straight(draft, held, "W", [(1, "a")], ["k"])


def never_condition(held: Exact, rule: VenueRule, tier: TierRow, *, in_contracts: bool) -> Condition:
    """What keeps a position alive at every price: margin that covers all that can be lost.

    Parameters  as liquidation_formula; tier : in force where the value nears nothing
    Returns     Condition
    """
    with localcontext(EXACT):
        draft = _begin(held)
        margin = _count_margin(draft, held, rule)
        rate, amount = _rate_and_amount(draft, held, rule, tier, in_contracts=in_contracts)
        moved = [(1, margin), *_charges(draft, held, rule, rate, amount)]
        template = "".join(f" {_mark(sign)} {symbol}" for sign, symbol in moved).removeprefix(" + ")
        whole = f"{template} ≥ {_value_at_entry(held)}"
        total = sum((sign * draft[symbol] for sign, symbol in moved), ZERO)
        # The rate itself plays no part where the value nears nothing.
        said = set(SYMBOL.findall(" ".join([whole, *(line.symbols for line in draft.lines)])))
        return Condition(
            symbols=in_symbols(whole),
            numbers=draft.numbers(whole),
            holds=total >= held.entry_value,
            lines=tuple(draft.lines),
            inputs={symbol: value for symbol, value in draft.inputs.items() if symbol in said},
        )


def _begin(held: Exact) -> _Draft:
    size = "N" if held.is_inverse else "q"
    return _Draft({size: held.size, "E": held.entry_price, "W": held.wallet})


def _value_at_entry(held: Exact) -> str:
    return "N ÷ E" if held.is_inverse else "q × E"


def _mark(sign: int) -> str:
    return "+" if sign > 0 else "−"


def _count_margin(draft: _Draft, held: Exact, rule: VenueRule) -> str:
    """The symbol of the wallet that counts: margin beyond the initial may count for more or less."""
    k = rule.extra_margin_fee * held.side
    if not k:
        return "W"
    draft.inputs["f"] = held.fee_rate
    par = ONE - k * held.fee_rate
    mark = _mark(-k)
    if held.leverage is None:
        # The initial margin is not known without the leverage: the worse of the two counts.
        if par <= 1:
            return "W"
        return draft.define(
            "W′", f"W ÷ (1 {mark} f)", held.wallet / par, "margin that counts, leverage unknown"
        )
    draft.inputs["leverage"] = held.leverage
    initial = held.entry_value / held.leverage
    draft.define("I", f"{_value_at_entry(held)} ÷ leverage", initial, "initial margin")
    counted = draft["I"] + (held.wallet - draft["I"]) / par
    return draft.define(
        "W′",
        f"I + (W − I) ÷ (1 {mark} f)",
        counted,
        "margin that counts: what is extra also moves the closing fee",
    )


def _size_is_fixed(held: Exact, rule: VenueRule, *, in_contracts: bool) -> bool:
    """Whether what the tiers count stays as it is when the price moves."""
    return in_contracts or (rule.tiers_in_coins and not held.is_inverse)


def _rate_and_amount(
    draft: _Draft, held: Exact, rule: VenueRule, tier: TierRow, *, in_contracts: bool
) -> tuple[str, str]:
    """Symbols of the maintenance rate and of the amount deducted; no amount where the venue deducts nothing."""
    draft.inputs["m"] = tier.rate
    rate, amount = "m", "A" if rule.deduction else ""
    if rule.rate_over_leverage:
        leverage = held.leverage or ONE
        draft.inputs |= {"k": draft.inputs.pop("m"), "leverage": leverage}
        draft.define("m", "k ÷ leverage", tier.rate / leverage, "maintenance rate")
    if amount:
        draft.inputs["A"] = tier.amount or ZERO
    if tier.slope:
        rate = _sloped_rate(draft, held, rule, tier, in_contracts=in_contracts)
    if amount and in_contracts:
        del draft.inputs["A"]
        if tier.amount:
            draft.inputs |= {"A": tier.amount, "n": held.contracts}
            value = draft[rate] - tier.amount / held.contracts
            rate = draft.define("r", f"{rate} − A ÷ n", value, "rate on the whole position")
        amount = ""
    return rate, amount


def _sloped_rate(draft: _Draft, held: Exact, rule: VenueRule, tier: TierRow, *, in_contracts: bool) -> str:
    """The rate at a size that does not move with the price, or at size 0 where the root needs it."""
    draft.inputs |= {"b": tier.slope}
    by_entry = rule.maintenance_basis is Basis.ENTRY
    if not by_entry and not _size_is_fixed(held, rule, in_contracts=in_contracts):
        if not tier.floor:
            return "m"
        draft.inputs["n₀"] = tier.floor
        return draft.define(
            "m₀", "m − b × n₀", tier.rate - tier.slope * tier.floor, "rate carried back to size 0"
        )
    if in_contracts or (rule.tiers_in_coins and not held.is_inverse):
        draft.inputs["n"] = held.contracts if in_contracts else held.size
    else:
        draft.define("n", _value_at_entry(held), held.entry_value, "value at entry")
    if not tier.floor:
        return draft.define("r", "m + b × n", tier.rate + tier.slope * draft["n"], "rate at this size")
    draft.inputs["n₀"] = tier.floor
    value = tier.rate + tier.slope * (draft["n"] - tier.floor)
    return draft.define("r", "m + b × (n − n₀)", value, "rate at this size")


def _charges(draft: _Draft, held: Exact, rule: VenueRule, rate: str, amount: str) -> list[tuple[int, str]]:
    """What is added to the margin, or taken from it, with its sign."""
    found: list[tuple[int, str]] = []
    if rule.maintenance_basis is Basis.ENTRY:
        template = f"{rate} × {_value_at_entry(held)}" + (f" − {amount}" if amount else "")
        value = draft[rate] * held.entry_value - (draft[amount] if amount else ZERO)
        found.append((-1, draft.define("M₀", template, value, "maintenance, fixed by the entry")))
    elif amount:
        found.append((1, amount))
    if rule.fee_basis in {FeeBasis.BANKRUPTCY, FeeBasis.COST_AND_MARGIN}:
        found.append((-1, _reserve_fee(draft, held, rule.fee_basis)))
    if rule.funding_rate and held.side * rule.funding_rate > 0:
        draft.inputs["g"] = rule.funding_rate
        value = rule.funding_rate * held.entry_value
        template = f"g × {_value_at_entry(held)}"
        found.append((-1, draft.define("G", template, value, "one funding payment, reserved")))
    return found


def _reserve_fee(draft: _Draft, held: Exact, basis: FeeBasis) -> str:
    """Fee that the condition reserves, on money the entry fixes; without the leverage, on the most it can be."""
    at_bankruptcy = basis is FeeBasis.BANKRUPTCY
    meaning = "fee at bankruptcy, reserved" if at_bankruptcy else "fee on cost and margin, reserved"
    draft.inputs["f"] = held.fee_rate
    value, cost = held.entry_value, _value_at_entry(held)
    sign = -held.sign if at_bankruptcy else 1
    if held.leverage is not None:
        draft.inputs["leverage"] = held.leverage
        share = sign / held.leverage
        template = f"f × {cost} × (1 {_mark(sign)} 1 ÷ leverage)"
        return draft.define("R", template, held.fee_rate * value * (1 + share), meaning)
    wallet = max(held.wallet, ZERO)
    if sign < 0 or not wallet:
        return draft.define("R", f"f × {cost}", held.fee_rate * value, f"{meaning}, leverage unknown")
    if at_bankruptcy and wallet > value:
        return draft.define("R", f"f × {cost} × 2", held.fee_rate * value * 2, f"{meaning}, leverage unknown")
    return draft.define(
        "R", f"f × ({cost} + W)", held.fee_rate * (value + wallet), f"{meaning}, leverage unknown"
    )


def _joined(kappa: list[str]) -> str:
    return f"({' + '.join(kappa)})" if len(kappa) > 1 else kappa[0]


def _straight(
    draft: _Draft, held: Exact, margin: str, charges: list[tuple[int, str]], kappa: list[str]
) -> Formula:
    """Linear: (q E − s (W + a)) ÷ (q (1 − s κ)). Inverse: N (1 + s κ) ÷ (N ÷ E + s (W + a))."""
    s = held.side
    rates = sum((draft[symbol] for symbol in kappa), ZERO)
    moved = [(1, margin), *charges]
    total = sum((sign * draft[symbol] for sign, symbol in moved), ZERO)
    turn = s if held.is_inverse else -s
    sums = _value_at_entry(held) + "".join(f" {_mark(turn * sign)} {symbol}" for sign, symbol in moved)
    size = "N" if held.is_inverse else "q"
    product = f"{size} × (1 {_mark(turn)} {_joined(kappa)})" if kappa else size
    values = (held.entry_value + turn * total, held.size * (1 + turn * rates))
    if held.is_inverse:
        return draft.finish(product, sums, (values[1], values[0]))
    return draft.finish(sums, product, values)


def _sloped(
    draft: _Draft, held: Exact, margin: str, charges: list[tuple[int, str]], kappa: list[str]
) -> Formula:
    """The rate grows with the value itself, so the value n solves b n² + … = 0; the root a walk meets first.

    Source: https://support.deribit.com/hc/en-us/articles/25944826427293 (rate = base + slope × coins)
    """
    turn = -held.sign
    rates = sum((draft[symbol] for symbol in kappa), ZERO)
    moved = [(1, margin), *charges]
    total = sum((sign * draft[symbol] for sign, symbol in moved), ZERO)
    sums = _value_at_entry(held) + "".join(f" {_mark(turn * sign)} {symbol}" for sign, symbol in moved)
    draft.define("c", sums, held.entry_value + turn * total, "value at entry and margin together")
    mark, lean = _mark(turn), 1 + turn * rates
    base = f"(1 {mark} {_joined(kappa)})"
    roots = f"({base} + √({base} × {base} {mark} 4 × b × c))"
    square = lean * lean + turn * 4 * draft["b"] * draft["c"]
    root = lean + square.sqrt() if square >= 0 else ZERO
    if held.is_inverse:
        return draft.finish(f"N × {roots}", "2 × c", (held.size * root, 2 * draft["c"]))
    return draft.finish("2 × c", f"q × {roots}", (2 * draft["c"], held.size * root))
