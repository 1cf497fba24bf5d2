"""Published numbers, one a row, turned into engine calls: what was printed, what the engine says."""

from margin.engine.vectors.margin import compute_vector, find_quantity, is_tiered
from margin.engine.vectors.rows import (
    COLUMNS,
    ModelVector,
    NotComputed,
    Published,
    Vector,
    VectorError,
    is_margin_file,
    read_model_vector,
    read_vector,
)

__all__ = [
    "COLUMNS",
    "ModelVector",
    "NotComputed",
    "Published",
    "Vector",
    "VectorError",
    "compute_vector",
    "find_quantity",
    "is_margin_file",
    "is_tiered",
    "read_model_vector",
    "read_vector",
]
