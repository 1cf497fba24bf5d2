"""What a printed number would follow from, where it does not follow from its row's inputs."""

import math
import re
from dataclasses import replace

from margin.engine.vectors.margin import compute_vector
from margin.engine.vectors.rows import Vector

TOKENS = ("mm_basis=mark", "mm_basis=entry", "fee_basis=none", "fee_basis=mark", "fee_basis=bankruptcy")


def explain_by_other_inputs(vector: Vector) -> list[str]:
    """Single changes of a row's terms that give its printed number within its tolerance.

    Parameters  vector : a row that misses
    Returns     list of str, empty where none does
    Notes       A hint at the slip, never a pass: the row stays a miss.
    """
    changes = {f"with {token}": replace(vector, notes=_with(token, vector.notes)) for token in TOKENS}
    changes |= {
        "with the side turned round": replace(vector, side=-vector.side),
        "without the fee": replace(vector, fee_rate=0.0),
        "without the amount": replace(vector, amount=0.0),
        "without the added margin": replace(vector, extra_margin=0.0),
    }
    changed = {words: other for words, other in changes.items() if other != vector}
    return [f"{words} it would be {vector.expected!r}" for words, other in changed.items() if _gives(other)]


def _with(token: str, notes: str) -> str:
    key = token.partition("=")[0]
    return f"{token};" + re.sub(rf"\b{key}=[^;]*;?", "", notes)


def _gives(vector: Vector) -> bool:
    try:
        computed = compute_vector(vector)
    except (ValueError, ArithmeticError):
        return False
    return math.isfinite(computed) and abs(computed - vector.expected) <= vector.tolerance
