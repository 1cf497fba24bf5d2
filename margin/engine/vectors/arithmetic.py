"""The arithmetic of a row that misses, in Decimal and apart from the solver: what its own numbers give."""

import ast
import operator
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, localcontext

from margin.engine.rules import Basis, FeeBasis
from margin.engine.types import INVERSE
from margin.engine.vectors.names import canonical_name, ratio_parts, split_suffixes
from margin.engine.vectors.of_venues import reserved_funding
from margin.engine.vectors.rows import NEVER, NotComputed, Vector, exact
from margin.engine.vectors.terms import (
    AT_BANKRUPTCY,
    AT_BANKRUPTCY_VALUE,
    AT_ENTRY,
    ON_COST_AND_MARGIN,
    added_margin,
    fee_cancels,
    fee_word,
    given,
    others_of,
    rule_of,
    tier_amount,
)

# Digits beyond those of any input, so that nothing shown is a rounding of ours.
PRECISE = Context(prec=40)
SHOWN = Context(prec=12)
# Of the value of the position: what is left of zero at a price that is a float.
NOISE = Decimal("1e-12")
OPERATIONS: Mapping[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
PRICES = frozenset(
    {"liquidation_price", "cross_liquidation_price", "displayed_liquidation_price", "bankruptcy_price"}
)


def explain_row(vector: Vector, computed: float | None) -> list[str]:
    """Lines that show why a printed number is not what the row's own inputs give.

    Parameters  vector : the row · computed : ours, None where there is none
    Returns     list of str; for a price, equity and maintenance there and at ours; else the formula with numbers;
                empty where the row does not say enough for either
    """
    try:
        with localcontext(PRECISE):
            if canonical_name(vector.quantity_name) in PRICES:
                return _explain_price(vector, computed)
            return _explain_formula(vector)
    except (NotComputed, ArithmeticError, LookupError, ValueError):
        return []


def evaluate_row(vector: Vector) -> Decimal:
    """A quantity by its formula in Decimal, the second way to the same number.

    Parameters  vector : the row
    Returns     Decimal
    Raises      NotComputed: no formula for it, or an input is missing · ArithmeticError: a division by zero
    """
    with localcontext(PRECISE):
        return evaluate(formula_of(vector), names_of(vector))


def sides_at(vector: Vector, price: Decimal) -> tuple[Decimal, Decimal]:
    """Equity and what it must stay above, at a price.

    Parameters  vector : the row · price : quote per base
    Returns     equity; maintenance with the fee in the condition, 0 for a bankruptcy price without one
    """
    names = {**names_of(vector), "P": price}
    return evaluate(_equity(vector), names), evaluate(_needed(vector), names)


def _needed(vector: Vector) -> str:
    """What equity must stay above: maintenance with the fee in the condition, or at bankruptcy a fee or nothing."""
    if canonical_name(vector.quantity_name) != "bankruptcy_price":
        return _condition(vector)
    return f"f*({_value(vector)})" if vector.fee_rate and vector.word("fee_basis") != "none" else "0"


def _explain_price(vector: Vector, computed: float | None) -> list[str]:
    is_bankruptcy = canonical_name(vector.quantity_name) == "bankruptcy_price"
    needed = "fee" if is_bankruptcy else "maintenance"
    prices = [("printed", vector.expected), ("ours", computed)]
    lines = []
    for name, price in prices:
        if price is None or not 0 < price < NEVER:
            continue
        equity, need = sides_at(vector, exact(price))
        value = evaluate(_value(vector), {**names_of(vector), "P": exact(price)})
        same = abs(equity - need) <= NOISE * value
        verdict = (
            "equal"
            if same
            else f"not equal, {'above' if equity > need else 'below'} by {_show(abs(equity - need))}"
        )
        lines.append(
            f"at {_show(exact(price))} ({name}): equity {_show(equity)}, {needed} {_show(need)}: {verdict}"
        )
    formulas = [f"equity = {_equity(vector)}", f"{needed} = {_needed(vector)}"]
    return [*formulas, *lines] if lines else []


def _explain_formula(vector: Vector) -> list[str]:
    formula = formula_of(vector)
    names = names_of(vector)
    value = evaluate(formula, names)
    return [
        f"{formula} = {_substitute(formula, names)} = {_show(value)}, printed {_show(exact(vector.expected))}"
    ]


def names_of(vector: Vector) -> dict[str, Decimal]:
    """The numbers of a row under the names that formulas use; what is not given is left out."""
    numbers = {
        "s": float(vector.side),
        "q": vector.size,
        "E": vector.entry_price,
        "P": vector.mark_price,
        "lev": vector.leverage,
        "X": added_margin(vector),
        "m": _plain_rate(vector),
        "A": vector.amount or (tier_amount(vector) if given(tier_amount(vector)) else 0.0),
        "floor": vector.number("tier_floor"),
        "mmr": vector.number("mmr", "rate") if given(vector.number("mmr", "rate")) else vector.rate,
        "mmr_prev": vector.number("mmr_prev", "rate_prev"),
        "amt_prev": vector.number("amt_prev", "amount_prev"),
        "f": vector.fee_rate,
        "total": vector.number("maint_total"),
        "a": vector.number("base_rate"),
        "b": vector.number("slope_per_coin", "slope"),
        "adjust": vector.number("adjust", "adjust_factor"),
        "funding": vector.number("funding_rate", "funding", "rate"),
        "BA": vector.number("BA"),
        "SMMR": vector.number("SMMR"),
        "oi": vector.number("open_interest"),
        "lower": vector.number("lower_cap"),
        "upper": vector.number("upper_cap"),
    }
    names = {name: exact(value) for name, value in numbers.items() if given(value)}
    if given(vector.quantity):
        names["q"] = exact(vector.quantity) * exact(vector.contract_size)
    if given(vector.isolated_margin):
        add = vector.number("add", "added", "add_margin")
        names["W"] = exact(vector.isolated_margin) + (exact(add) if given(add) else 0)
    for place, other in enumerate(others_of(vector)):
        names |= {f"{name}{place}": value for name, value in names_of(other).items() if name in "sqEPmA"}
    return names


def _plain_rate(vector: Vector) -> float:
    return vector.rate if given(vector.rate) else vector.number("mmr")


def _value(vector: Vector, price: str = "P") -> str:
    return f"q/{price}" if vector.kind == INVERSE else f"q*{price}"


def _pnl(vector: Vector) -> str:
    return "s*q*(1/E - 1/P)" if vector.kind == INVERSE else "s*q*(P - E)"


def _wallet(vector: Vector) -> str:
    rule = rule_of(vector)
    initial = f"{_value(vector, 'E')}/lev"
    if not rule.extra_margin_fee:
        return "W" if given(vector.isolated_margin) else f"{initial} + X"
    part = f"/(1 {'-' if vector.side * rule.extra_margin_fee > 0 else '+'} f)"
    return f"{initial} + {f'(W - {initial})' if given(vector.isolated_margin) else 'X'}{part}"


def _equity(vector: Vector) -> str:
    """Equity at P; of a cross account, what the other positions leave of it."""
    others = "".join(
        f" + s{place}*q{place}*(P{place} - E{place}) - (m{place}*q{place}*P{place} - A{place})"
        for place, _ in enumerate(others_of(vector))
    )
    return f"{_wallet(vector)} + {_pnl(vector)}{others}"


def _maintenance(vector: Vector, at: str = "") -> str:
    if vector.noted("maint_total"):
        by_entry = rule_of(vector).maintenance_basis is Basis.ENTRY
        return "total" if by_entry else f"total*({_value(vector)})/({_value(vector, repr_price(vector))})"
    if vector.noted("base_rate"):
        coins = _value(vector) if vector.kind == INVERSE else "q"
        return (
            f"(a + b*({coins}))*({_value(vector)})"
            if vector.noted("slope_per_coin")
            else f"a*({_value(vector)})"
        )
    entry = at == "entry" or (not at and rule_of(vector).maintenance_basis is Basis.ENTRY)
    rate = "m" if given(_plain_rate(vector)) else "adjust/lev"
    amount = " - A" if names_of(vector)["A"] else ""
    return f"({rate}*({_value(vector, 'E' if entry else 'P')}){amount})"


def repr_price(vector: Vector) -> str:
    """The mark as a number in a formula, where P stands for another price."""
    return format(exact(vector.mark_price), "f")


def _condition(vector: Vector) -> str:
    """Maintenance with the fee that the condition of liquidation contains."""
    if rule_of(vector).fee_basis is FeeBasis.MARK and vector.fee_rate:
        return f"{_maintenance(vector)} + f*({_value(vector)})"
    word = fee_word(vector)
    if not vector.fee_rate or word == FeeBasis.NONE.value:
        return _maintenance(vector)
    if word != AT_BANKRUPTCY_VALUE and fee_cancels(vector):
        return _maintenance(vector)
    return f"{_maintenance(vector)} + {_fee(vector, 'any')}"


def _fee(vector: Vector, which: str) -> str:
    by_word = {
        AT_BANKRUPTCY: "close",
        AT_BANKRUPTCY_VALUE: "bankruptcy",
        AT_ENTRY: "entry",
        ON_COST_AND_MARGIN: "reserve",
    }
    which = by_word.get(fee_word(vector), "mark") if which == "any" else which
    entry, sign = _value(vector, "E"), "+" if vector.kind == INVERSE else "-"
    if which == "both":
        return f"{_fee(vector, 'entry')} + {_fee(vector, 'close')}"
    formulas = {
        "mark": f"f*({_value(vector)})",
        "entry": f"f*({entry})",
        "close": f"f*({entry})*(1 {sign} s/lev)",
        "reserve": f"f*({entry} + {_unreserved(vector)})",
        # Equity is f times the value there: W + s·(v − v(E)) = f·v, for an inverse contract with s turned round.
        "bankruptcy": f"f*({_wallet(vector)} {sign} s*({entry}))/(f {sign} s)",
    }
    return formulas[which]


def _unreserved(vector: Vector) -> str:
    """Initial margin and what was added, without the fee set aside."""
    return f"{_value(vector, 'E')}/lev + X" if given(vector.leverage) else "W"


def formula_of(vector: Vector) -> str:
    """The formula of a row's quantity in the names of names_of.

    Parameters  vector : the row
    Returns     str, such as s*q*(P - E)
    Raises      NotComputed: there is none
    """
    name = canonical_name(vector.quantity_name)
    if name in FORMULAS:
        return FORMULAS[name](vector)
    bare, fee, at = split_suffixes(name)
    if bare == "initial_margin":
        return _plus_fee(_initial(vector, at), vector, fee)
    if bare == "maintenance_margin":
        stated = vector.word("fee_basis") not in {"", "none"} and not vector.noted("maint_total")
        return _plus_fee(_maintenance(vector, at), vector, fee or ("any" if stated else ""))
    parts = ratio_parts(name)
    if parts is None:
        raise NotComputed(f"no formula for {name}")
    top, bottom = (" + ".join(f"({_part(vector, one)})" for one in side) for side in parts)
    return f"({top})/({bottom})"


def _plus_fee(formula: str, vector: Vector, fee: str) -> str:
    return f"{formula} + {_fee(vector, fee)}" if fee and vector.fee_rate else formula


def _part(vector: Vector, name: str) -> str:
    if name == "mark_fee":
        return _fee(vector, "any")
    if name == "maintenance_margin":
        return _maintenance(vector)
    return _initial(vector) if name == "initial_margin" else FORMULAS[name](vector)


def _initial(vector: Vector, at: str = "") -> str:
    if vector.noted("base_rate"):
        return _maintenance(vector)
    if vector.noted("open_interest"):
        return FORMULAS["initial_margin_oimf"](vector)
    return f"{_value(vector, 'P' if at == 'mark' else 'E')}/lev"


def _funding(vector: Vector) -> str:
    return f"s*funding*({_value(vector)})"


FORMULAS: dict[str, Callable[[Vector], str]] = {
    "notional": _value,
    "notional_entry": lambda vector: _value(vector, "E"),
    "unrealized_pnl": _pnl,
    "roe": lambda vector: f"({_pnl(vector)})/({_value(vector, 'E')}/lev)",
    "roe_pct": lambda vector: f"100*({_pnl(vector)})/({_value(vector, 'E')}/lev)",
    "equity": lambda vector: f"{_wallet(vector)} + {_pnl(vector)}",
    "wallet": _wallet,
    "max_loss": _wallet,
    "effective_leverage": lambda vector: f"({_value(vector)})/({_wallet(vector)} + {_pnl(vector)})",
    "margin_ratio": lambda vector: f"({_condition(vector)})/({_wallet(vector)} + {_pnl(vector)})",
    "bankruptcy_notional": lambda vector: f"{_value(vector)} - s*({_wallet(vector)} + {_pnl(vector)})",
    "initial_margin_oimf": lambda vector: (
        f"clamp(1/lev + (1 - 1/lev)*(oi*P - lower)/(upper - lower), 1/lev, 1)*({_value(vector)})"
    ),
    "fillable_price": lambda vector: (
        f"P*(1 - s*SMMR*m*clamp(BA*(1 - ({_wallet(vector)} + {_pnl(vector)})/({_maintenance(vector)})), 0, 1))"
    ),
    "risk_rate": lambda vector: (
        f"({_wallet(vector)} + {_pnl(vector)})/({_value(vector)}/lev) - "
        + ("adjust" if vector.noted("adjust") else "m*lev")
    ),
    "funding_payment": _funding,
    "entry_fee": lambda vector: _fee(vector, "entry"),
    "close_fee": lambda vector: _fee(vector, "close"),
    "mark_fee": lambda vector: _fee(vector, "mark"),
    "posmaint": lambda vector: (
        f"m*({_value(vector, 'E')}) + {_fee(vector, 'reserve')} + {reserved_funding(vector)}*({_value(vector, 'E')})"
    ),
    "posinit": lambda vector: f"{_value(vector, 'E')}/lev",
    "poscomm": lambda vector: _fee(vector, "reserve"),
    "posmargin": lambda vector: f"{_unreserved(vector)} + {_fee(vector, 'reserve')}",
    "maintenance_amount": lambda vector: "amt_prev + floor*(mmr - mmr_prev)",
    "margin_usage": lambda vector: f"({_initial(vector, 'mark')})/({_wallet(vector)} + {_pnl(vector)})",
    "free_collateral": lambda vector: f"{_wallet(vector)} + {_pnl(vector)} - ({_initial(vector, 'mark')})",
}


def evaluate(formula: str, names: Mapping[str, Decimal]) -> Decimal:
    """A formula of names, numbers, + − × ÷ and clamp(x, least, most).

    Parameters  formula : such as s*q*(P - E) · names : their values
    Returns     Decimal in the context in force
    Raises      NotComputed: a name without a value · ArithmeticError: a division by zero
    """
    return _walk(ast.parse(formula, mode="eval").body, names)


def _walk(node: ast.expr, names: Mapping[str, Decimal]) -> Decimal:
    match node:
        case ast.Constant(value=int() | float() as number):
            return Decimal(repr(number))
        case ast.Name(id=name):
            if name not in names:
                raise NotComputed(f"{name} is not given")
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_walk(operand, names)
        case ast.BinOp(left=left, op=sign, right=right):
            return OPERATIONS[type(sign)](_walk(left, names), _walk(right, names))
        case ast.Call(args=[value, least, most]):
            return min(max(_walk(value, names), _walk(least, names)), _walk(most, names))
    raise NotComputed(f"not a formula: {ast.unparse(node)}")


def _substitute(formula: str, names: Mapping[str, Decimal]) -> str:
    """The formula with its numbers in place of the names."""

    class Numbers(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.Name:
            return ast.Name(id=_show(names[node.id]) if node.id in names else node.id)

    return ast.unparse(Numbers().visit(ast.parse(formula, mode="eval")))


def _show(value: Decimal) -> str:
    short = SHOWN.plus(value).normalize()
    return format(short, "f") if -12 < short.adjusted() < 16 else str(short)
