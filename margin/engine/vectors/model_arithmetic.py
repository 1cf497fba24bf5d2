"""The arithmetic of a volatility, odds or hedge row that misses, with its numbers put in."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from margin.engine.vectors.model import bars_of, number_of, passage_terms
from margin.engine.vectors.rows import ModelVector, NotComputed

Bar = Sequence[float]
# Per bar of logs open, high, low, close: the formula in words, and one term of its mean.
TERMS: Mapping[str, tuple[str, Callable[[Bar], float]]] = {
    "parkinson": ("(h - l)²/(4·ln 2)", lambda bar: (bar[1] - bar[2]) ** 2 / (4 * math.log(2))),
    "garman_klass": (
        "½(h - l)² - (2·ln 2 - 1)(c - o)²",
        lambda bar: (bar[1] - bar[2]) ** 2 / 2 - (2 * math.log(2) - 1) * (bar[3] - bar[0]) ** 2,
    ),
    "rogers_satchell": (
        "(h - c)(h - o) + (l - c)(l - o)",
        lambda bar: (bar[1] - bar[3]) * (bar[1] - bar[0]) + (bar[2] - bar[3]) * (bar[2] - bar[0]),
    ),
}


def explain_model_row(vector: ModelVector, computed: float | None) -> list[str]:
    """Lines that show what the row's own inputs give.

    Parameters  vector : the row · computed : ours, None where there is none
    Returns     list of str, empty where the inputs do not allow any
    """
    family = next((explain for start, explain in FAMILIES if re.match(start, vector.kind)), None)
    try:
        lines = family(vector) if family else []
    except (NotComputed, ArithmeticError, LookupError, TypeError, ValueError):
        return []
    return (
        [*lines, f"ours {computed!r}, printed {vector.expected!r}"]
        if lines and computed is not None
        else lines
    )


def _explain_volatility(vector: ModelVector) -> list[str]:
    bars = [tuple(map(math.log, bar)) for bar in bars_of(vector.inputs).tolist()]
    name = next((name for name in TERMS if name in vector.kind), "")
    if name:
        words, term = TERMS[name]
        variance = math.fsum(term(bar) for bar in bars) / len(bars)
        text = f"mean of {words} over {len(bars)} bars of logs"
    elif "close" in vector.kind:
        moves = [later[3] - earlier[3] for earlier, later in pairwise(bars)]
        mean = math.fsum(moves) / len(moves)
        variance = math.fsum((move - mean) ** 2 for move in moves) / (len(moves) - 1)
        text = f"sample variance (n - 1) of {len(moves)} log returns"
    else:
        return []
    lines = [f"{text} = {variance:.12g} a period, its root {math.sqrt(variance):.12g}"]
    periods = number_of(vector.inputs, "periods_per_year", default=math.nan)
    if not math.isnan(periods):
        yearly = math.sqrt(variance * periods)
        lines.append(f"√({variance:.12g} · {periods:g}) = {yearly:.12g} a year")
    return lines


def _explain_ewma(vector: ModelVector) -> list[str]:
    inputs = vector.inputs
    decay, before = number_of(inputs, "lam", "lambda", "decay"), number_of(inputs, "prev_vol", "prev_sigma")
    moved = number_of(inputs, "ret", "return", "r")
    variance = decay * before**2 + (1 - decay) * moved**2
    return [
        f"{decay:g}·{before:g}² + (1 - {decay:g})·{moved:g}² = {variance:.12g}, its root {math.sqrt(variance):.12g}"
    ]


def _explain_passage(vector: ModelVector) -> list[str]:
    distance, spread, drift, discount = passage_terms(vector.inputs)
    terms = f"distance d = {distance:.12g}, σ√T = {spread:.12g}, drift away m = {drift:.12g}, rT = {discount:.12g}"
    if distance <= 0:
        return [terms, "already at or beyond the level: P(touch) = 1"]
    # Φ(x) = erfc(-x/√2)/2
    first = math.erfc((distance + drift) / spread / math.sqrt(2)) / 2
    power = -2 * drift * distance / spread**2
    second = math.erfc((distance - drift) / spread / math.sqrt(2)) / 2
    term = math.exp(power + math.log(second)) if second > 0 else 0.0
    chance = min(first + term, 1.0)
    cash = number_of(vector.inputs, "cash", default=1.0)
    return [
        terms,
        f"P(touch) = Φ(-(d + m)/σ√T) + exp(-2md/σ²T)·Φ(-(d - m)/σ√T) = {first:.12g} + {term:.12g} = {chance:.12g}",
        f"paid at expiry: {cash:g}·e^(-{discount:g})·P = {cash * math.exp(-discount) * chance:.12g}, "
        f"without a touch {cash * math.exp(-discount) * (1 - chance):.12g}",
    ]


def _explain_hedge(vector: ModelVector) -> list[str]:
    inputs = vector.inputs
    if "dS" in inputs and "dF" in inputs:
        spot, futures = ([float(value) for value in inputs[name]] for name in ("dS", "dF"))
        count = len(spot)
        means = math.fsum(spot) / count, math.fsum(futures) / count
        squares = [
            math.fsum((value - mean) ** 2 for value in series) / (count - 1)
            for series, mean in zip((spot, futures), means, strict=True)
        ]
        together = math.fsum((s - means[0]) * (f - means[1]) for s, f in zip(spot, futures, strict=True)) / (
            count - 1
        )
        deviations = [math.sqrt(square) for square in squares]
        rho = together / deviations[0] / deviations[1]
        return [
            f"σ_S = {deviations[0]:.12g}, σ_F = {deviations[1]:.12g}, ρ = {rho:.12g} from {count} pairs",
            f"h* = ρ·σ_S/σ_F = {rho * deviations[0] / deviations[1]:.12g}, ρ² = {rho**2:.12g}",
        ]
    rho, spot_sd, futures_sd = (number_of(inputs, name) for name in ("rho", "sS", "sF"))
    ratio = rho * spot_sd / futures_sd
    lines = [f"h* = {rho:g}·{spot_sd:g}/{futures_sd:g} = {ratio:.12g}, ρ² = {rho**2:.12g}"]
    if "size" in inputs and "contract" in inputs:
        size, contract = number_of(inputs, "size"), number_of(inputs, "contract")
        lines.append(f"contracts = h*·{size:g}/{contract:g} = {ratio * size / contract:.12g}")
    return lines


FAMILIES: tuple[tuple[str, Callable[[ModelVector], list[str]]], ...] = (
    ("vol", _explain_volatility),
    ("ewma", _explain_ewma),
    ("first_passage", _explain_passage),
    ("hedge", _explain_hedge),
)
