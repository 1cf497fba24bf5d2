"""The maintenance rate of a margin table by size, beside that of the version it is compared with."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any

from margin.charts.figure import Figure
from margin.engine.tiers import TierRow
from margin.selectors.tier_tables import TierTablePage

Points = list[tuple[float, float]]
# A rate that grows with size is a curve: points of it in one tier.
CURVE_POINTS = 24
DECADES_SHOWN = 8


def tier_figure(page: TierTablePage) -> Figure:
    after = page.shown.version.rows
    before = page.base.rows if page.base else ()
    low, high = _range([*before, *after], page.effect.sizes)
    unit = "contracts" if page.ladder.in_contracts else page.settle_asset
    title = _title(before, after, page.effect.sizes)
    return Figure(
        title=title,
        caption=f"Maintenance rate, in %, by size in {unit or 'the settlement asset'}, both on logarithmic scales."
        + (" Dashed: before. Circles: your positions." if before else " Circles: your positions."),
        alt=title,
        data=_traces(before, after, page.effect.sizes, (low, high)),
        layout={
            "margin": {"l": 52, "r": 20, "t": 8, "b": 30},
            "xaxis": _size_axis(low, high, every=1),
            "yaxis": _rate_axis([*before, *after]),
        },
        narrow={"margin": {"l": 44, "r": 12, "t": 8, "b": 30}, "xaxis": _size_axis(low, high, every=2)},
        table=_table(before, after),
        version=f"{page.shown.version.number}.{page.base.number if page.base else 0}.{len(page.effect.sizes)}",
    )


def _range(rows: Sequence[TierRow], sizes: Sequence[float]) -> tuple[float, float]:
    """From a decade below the first step to where the last tier ends; the range of a logarithmic axis."""
    ends = [float(edge) for row in rows for edge in (row.floor, row.cap) if edge]
    edges = [*ends, *(size for size in sizes if size > 0)] or [1.0]
    high = max(edges) * (2 if any(row.cap is None for row in rows) else 1)
    return max(min(edges) / 10, high / 10**DECADES_SHOWN), high


def _size_axis(low: float, high: float, *, every: int) -> dict[str, Any]:
    powers = range(ceil(log10(low)), floor(log10(high)) + 1)
    values = [10.0**power for power in powers if (power - powers.start) % every == 0]
    return {
        "type": "log",
        "range": [log10(low), log10(high)],
        "tickvals": values,
        "ticktext": [_short(value) for value in values],
    }


def _rate_axis(rows: Sequence[TierRow]) -> dict[str, Any]:
    """Logarithmic, for most positions stand where rates are small; unless a rate is none at all."""
    rates = [float(row.rate) * 100 for row in rows]
    if min(rates) <= 0:
        return {"rangemode": "tozero", "ticksuffix": " %"}
    low, high = min(rates) / 1.5, min(max(rates) * 1.5, 100.0)
    ticks = [step * 10.0**power for power in range(-4, 3) for step in (1, 2, 5)]
    shown = [tick for tick in ticks if low <= tick <= high]
    return {
        "type": "log",
        "range": [log10(low), log10(high)],
        "tickvals": shown,
        "ticktext": [f"{tick:g} %" for tick in shown],
    }


def _short(value: float) -> str:
    for size, letter in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _points(rows: Sequence[TierRow], low: float, high: float) -> Points:
    """Corners of the steps; within a tier whose rate grows, points of the curve."""
    found: Points = []
    for row in rows:
        start = max(float(row.floor), low)
        end = min(high if row.cap is None else float(row.cap), high)
        if end <= start:
            continue
        count = CURVE_POINTS if row.slope else 1
        for place in range(count + 1):
            size = start * (end / start) ** (place / count)
            found.append((size, _rate_at(row, size) * 100))
    return found


def _rate_at(row: TierRow, size: float) -> float:
    return float(row.rate) + float(row.slope) * size


def _find_rate(rows: Sequence[TierRow], size: float) -> float | None:
    for row in rows:
        if float(row.floor) <= size and (row.cap is None or size <= float(row.cap)):
            return _rate_at(row, size)
    return None


def _traces(
    before: Sequence[TierRow], after: Sequence[TierRow], sizes: Sequence[float], edges: tuple[float, float]
) -> list[dict[str, Any]]:
    traces = []
    if before:
        traces.append(
            _line("Before", _points(before, *edges), {"color": "@ink-3", "width": 1.5, "dash": "dash"})
        )
    traces.append(_line("Shown", _points(after, *edges), {"color": "@ink", "width": 2}))
    standing = [(size, rate * 100) for size in sizes if (rate := _find_rate(after, size)) is not None]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Your positions",
            "x": [size for size, _ in standing],
            "y": [rate for _, rate in standing],
            "marker": {"size": 9, "color": "@surface", "line": {"color": "@focus", "width": 2}},
            "hovertemplate": "size %{x:,.4~r}: %{y:.4~r} %<extra></extra>",
        }
    )
    return traces


def _line(name: str, points: Points, line: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [size for size, _ in points],
        "y": [rate for _, rate in points],
        "line": line,
        "hovertemplate": f"{name}, size %{{x:,.4~r}}: %{{y:.4~r}} %<extra></extra>",
    }


def _title(before: Sequence[TierRow], after: Sequence[TierRow], sizes: Sequence[float]) -> str:
    """What it means where positions stand; without any, over all sizes."""
    if not before:
        return f"Maintenance rate by size: {_span([float(row.rate) for row in after])}"
    found = [[_find_rate(rows, size) for size in sizes] for rows in (before, after)]
    known = [[rate for rate in rates if rate is not None] for rates in found]
    if not all(known):
        return "Maintenance rate by size, before and after"
    was, becomes = map(_span, known)
    if was == becomes:
        return f"At the size of your positions the rate stays at {was}"
    return f"At the size of your positions the rate goes from {was} to {becomes}"


def _span(rates: Sequence[float]) -> str:
    low, high = (_percent(rate) for rate in (min(rates), max(rates)))
    return f"{low} %" if low == high else f"{low}–{high} %"


def _table(before: Sequence[TierRow], after: Sequence[TierRow]) -> dict[str, Any]:
    starts = sorted({row.floor for row in (*before, *after)})
    sides = (before, after) if before else (after,)
    return {
        "headers": ["From size", *(["Before, %"] if before else []), "Rate, %"],
        "rows": [
            [f"{start:,f}", *(_percent(_find_rate(rows, float(start) * (1 + 1e-9) + 1e-9)) for rows in sides)]
            for start in starts
        ],
    }


def _percent(rate: float | None) -> str:
    return "—" if rate is None else f"{rate * 100:.6g}"
