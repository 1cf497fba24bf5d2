"""Reads a printed formula back: what a person with a calculator would get from the page."""

import re
from decimal import Decimal, localcontext

TOKEN = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?|[()+−×÷√]")


def evaluate(text: str) -> Decimal:
    """The value of printed arithmetic: + − × ÷ √ and brackets."""
    tokens = TOKEN.findall(text)
    assert "".join(tokens) == text.replace(" ", ""), f"not arithmetic: {text}"
    with localcontext(prec=60):
        value = _sum(tokens)
    assert not tokens, f"left over: {tokens}"
    return value


def _sum(tokens: list[str]) -> Decimal:
    value = _product(tokens)
    while tokens and tokens[0] in "+−":
        sign = 1 if tokens.pop(0) == "+" else -1
        value += sign * _product(tokens)
    return value


def _product(tokens: list[str]) -> Decimal:
    value = _factor(tokens)
    while tokens and tokens[0] in "×÷":
        if tokens.pop(0) == "×":
            value *= _factor(tokens)
        else:
            value /= _factor(tokens)
    return value


def _factor(tokens: list[str]) -> Decimal:
    token = tokens.pop(0)
    if token == "−":
        return -_factor(tokens)
    if token == "√":
        return _factor(tokens).sqrt()
    if token == "(":
        value = _sum(tokens)
        assert tokens.pop(0) == ")"
        return value
    return Decimal(token.replace(",", ""))
