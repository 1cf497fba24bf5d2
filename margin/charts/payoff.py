"""What the position brings at each exit price, after costs, and where the loss stops."""

from typing import Any

from margin.charts.figure import Figure, grouped, price_ticks
from margin.charts.notes import Note, Plane, place_notes
from margin.selectors.curves import Curves
from margin.selectors.rows import STABLE_ASSETS, PositionRow
from margin.templatetags.figures import money, price

WALL_POINTS = 40


def payoff_figure(row: PositionRow, curves: Curves) -> Figure:
    x_range = (curves.marks[0], curves.marks[-1])
    low, high = min(curves.profits), max(curves.profits)
    room = (high - low) * 0.14
    y_range = (low - room, high + room)
    return Figure(
        title=_title(row, curves),
        caption=_caption(row, curves),
        alt=_alt(row, curves),
        data=_traces(row, curves),
        layout={
            "margin": {"l": 62, "r": 14, "t": 24, "b": 42},
            "xaxis": price_axis("Exit price", row, x_range),
            "yaxis": {
                "range": list(y_range),
                "tickvals": (ticks := price_ticks(*y_range, 4)),
                "ticktext": [_tick_words(tick, row.settle_asset) for tick in ticks],
                "title": {"text": f"P&L after costs, {row.settle_asset}", "standoff": 4},
                "zeroline": True,
                "zerolinecolor": "@line-2",
            },
            "annotations": [
                *place_notes(
                    _notes(row, curves),
                    Plane(x_range=x_range, y_range=y_range),
                    [
                        *zip(curves.marks, curves.profits, strict=True),
                        *wall(curves.liquidation_price, y_range),
                    ],
                ),
                *liquidation_note(row, curves.liquidation_price, x_range),
            ],
            "shapes": liquidation_line(curves.liquidation_price, x_range),
        },
        narrow={"xaxis": price_axis("Exit price", row, x_range, wanted=3)},
        table=_table(row, curves),
        version=version_of(curves),
    )


def _table(row: PositionRow, curves: Curves) -> dict[str, Any]:
    points = list(zip(curves.marks, curves.profits, strict=True))
    return {
        "headers": [f"Exit price, {row.quote_asset}", f"P&L after costs, {row.settle_asset}"],
        "rows": [
            [price(mark, row.tick_size), money(profit, row.settle_asset)] for mark, profit in points[::4]
        ],
    }


def version_of(curves: Curves) -> str:
    return f"{curves.mark_price!r}-{curves.floor!r}-{curves.liquidation_price!r}-{len(curves.marks)}"


def amount(value: float, asset: str) -> str:
    """Money as short as a chart has room for."""
    size = abs(value)
    if asset in STABLE_ASSETS:
        for unit, word in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
            if size >= 10 * unit or size >= unit > 1e3:
                return f"{grouped(value / unit, 0 if size >= 100 * unit else 1).removesuffix('.0')} {word}"
    return f"{'−' if value < 0 else ''}{money(size, asset)}"


def signed_amount(value: float, asset: str) -> str:
    if abs(value) < 1e-12:
        return "0"
    return f"+{amount(value, asset)}" if value > 0 else amount(value, asset)


def _tick_words(value: float, asset: str) -> str:
    """Round numbers, so without the digits that money has."""
    if abs(value) < 1e-12:
        return "0"
    if asset in STABLE_ASSETS and abs(value) >= 10_000:
        return signed_amount(value, asset)
    return f"{'+' if value > 0 else '−'}{abs(value):,.6g}"


def price_axis(
    word: str, row: PositionRow, x_range: tuple[float, float], *, wanted: int = 4
) -> dict[str, Any]:
    ticks = price_ticks(*x_range, wanted)
    # The last tick's words would stand in the margin.
    edge = x_range[1] - (x_range[1] - x_range[0]) * 0.04
    shown = [tick for tick in ticks if tick <= edge]
    return {
        "range": list(x_range),
        "tickvals": shown,
        "ticktext": [f"{tick:,.6g}" if tick < 1000 else f"{tick:,.0f}" for tick in shown],
        "title": {"text": f"{word}, {row.quote_asset}", "standoff": 6},
    }


def liquidation_note(
    row: PositionRow, liquidation: float | None, x_range: tuple[float, float]
) -> list[dict[str, Any]]:
    """Over the plot, where nothing else is written."""
    if liquidation is None or not x_range[0] <= liquidation <= x_range[1]:
        return []
    left = liquidation < sum(x_range) / 2
    return [
        {
            "x": liquidation,
            "y": 1,
            "yref": "paper",
            "text": f"liquidated at {price(row.liquidation_price, row.tick_size)}",
            "showarrow": False,
            "font": {"size": 11, "color": "@critical-ink"},
            "xanchor": "left" if left else "right",
            "yanchor": "bottom",
            "yshift": 3,
        }
    ]


def wall(liquidation: float | None, y_range: tuple[float, float]) -> list[tuple[float, float]]:
    """Points of the line at liquidation, which notes keep away from."""
    if liquidation is None:
        return []
    low, high = y_range
    return [(liquidation, low + (high - low) * place / WALL_POINTS) for place in range(WALL_POINTS + 1)]


def liquidation_line(liquidation: float | None, x_range: tuple[float, float]) -> list[dict[str, Any]]:
    if liquidation is None or not x_range[0] <= liquidation <= x_range[1]:
        return []
    line = {"color": "@critical", "width": 1.5}
    return [
        {
            "type": "line",
            "x0": liquidation,
            "x1": liquidation,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": line,
        }
    ]


def _title(row: PositionRow, curves: Curves) -> str:
    if not curves.is_isolated:
        return "Not isolated: the loss does not stop there"
    lost = f"{amount(-curves.floor, row.settle_asset)} {row.settle_asset}"
    if curves.liquidation_price is None:
        return f"It cannot lose more than {lost}"
    return f"The loss stops at {lost}"


def _caption(row: PositionRow, curves: Curves) -> str:
    asset = row.settle_asset
    fees, funding = (_paid(float(value), asset) for value in (curves.costs.fees, curves.costs.funding))
    leaving = (
        f"an exit fee of {curves.exit_fee_rate * 100:.4g} % of its value"
        if curves.exit_fee_rate
        else "no exit fee, for none is known"
    )
    return (
        f"{amount(float(row.isolated_wallet), asset)} {asset} still in it; fees {fees}, funding {funding}; "
        f"with {leaving}."
    )


def _paid(value: float, asset: str) -> str:
    if not value:
        return "none paid"
    return f"{amount(abs(value), asset)} {'paid' if value > 0 else 'received'}"


def _alt(row: PositionRow, curves: Curves) -> str:
    parts = [f"now {signed_amount(curves.profit_now, row.settle_asset)} {row.settle_asset} at the mark"]
    if curves.break_even_price is not None:
        parts.append(f"break-even at {price(curves.break_even_price, row.tick_size)}")
    if curves.liquidation_price is not None:
        parts.append(f"liquidated at {price(row.liquidation_price, row.tick_size)}")
    return f"{_title(row, curves)}: {', '.join(parts)}."


def _traces(row: PositionRow, curves: Curves) -> list[dict[str, Any]]:
    points = [(curves.mark_price, curves.profit_now)]
    if curves.break_even_price is not None and _shows(curves, curves.break_even_price):
        points.append((curves.break_even_price, 0.0))
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "P&L after costs",
            "x": list(curves.marks),
            "y": list(curves.profits),
            "line": {"color": "@ink", "width": 2},
            "hovertemplate": f"exit %{{x:,.6~g}}: %{{y:,.6~g}} {row.settle_asset}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Now and break-even",
            "x": [x for x, _ in points],
            "y": [y for _, y in points],
            "marker": {
                "size": 8,
                "color": ["@ink", "@surface"][: len(points)],
                "line": {"width": 1.5, "color": "@ink"},
            },
            "hoverinfo": "skip",
        },
    ]


def _shows(curves: Curves, level: float) -> bool:
    """In the picture, and not beyond liquidation, where nothing is won back."""
    side = 1 if curves.liquidation_price is None or curves.mark_price > curves.liquidation_price else -1
    alive = curves.liquidation_price is None or side * (level - curves.liquidation_price) > 0
    return curves.marks[0] <= level <= curves.marks[-1] and (alive or not curves.is_isolated)


def _notes(row: PositionRow, curves: Curves) -> list[Note]:
    asset = row.settle_asset
    notes = [
        Note(
            curves.mark_price,
            curves.profit_now,
            f"now {signed_amount(curves.profit_now, asset)}",
            "@ink",
            strong=True,
        )
    ]
    if curves.break_even_price is not None and _shows(curves, curves.break_even_price):
        notes.append(
            Note(curves.break_even_price, 0.0, f"break-even {price(curves.break_even_price, row.tick_size)}")
        )
    if curves.is_isolated and curves.liquidation_price is not None and _near(curves):
        notes.append(Note(curves.liquidation_price, curves.floor, f"max loss {amount(curves.floor, asset)}"))
    return notes


def _near(curves: Curves) -> bool:
    level = curves.liquidation_price
    return level is not None and curves.marks[0] <= level <= curves.marks[-1]
