"""Each position's share of its client's isolated margin against the cap that is agreed."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from margin.charts.figure import Figure, grouped
from margin.charts.lines import (
    LEFT_PX,
    MOST_LINES,
    and_more,
    colour_of,
    count_words,
    lines_axis,
    names_of,
    narrow_lines,
    note,
)
from margin.selectors.rows import PositionRow
from margin.selectors.shares import Share, Shares


def allocation_figure(
    own: Shares, client: Shares, cap_percent: Decimal | None, *, are_all: bool, version: str
) -> Figure:
    """own: of the portfolio; client: of all that the client holds, on which the cap is agreed."""
    ratios = client.of_positions
    parts = [part for part in own.parts if part.row.id in ratios]
    shown = parts[:MOST_LINES]
    percents = [ratios[part.row.id] * 100 for part in shown]
    cap = None if cap_percent is None else float(cap_percent)
    end = min(100.0, max([*percents, cap or 0.0, 1.0]) * 1.35)
    title = _title(parts, ratios, cap, is_exact=are_all and not client.without)
    return Figure(
        title=title,
        caption=_caption(cap, own, client, are_all)
        + and_more(len(shown), len(parts), "largest positions are drawn"),
        alt=title
        + ". "
        + " ".join(f"{part.row.title}: {p:.1f} %." for part, p in zip(shown, percents, strict=True)),
        data=_traces(shown, percents, cap, end),
        layout={
            "margin": {"l": LEFT_PX, "r": 16, "t": 20, "b": 42},
            "barmode": "overlay",
            "xaxis": {
                "title": {"text": "Share of the client’s isolated margin, %"},
                "range": [0, end],
                "nticks": 6,
            },
            "yaxis": lines_axis(names_of([part.row for part in shown])),
            "shapes": [] if cap is None else [_cap_line(cap)],
            "annotations": [
                *(note(p, place, f"{p:.1f} %") for place, p in enumerate(percents)),
                *([] if cap is None else [_cap_name(cap, end)]),
            ],
        },
        narrow=narrow_lines(names_of([part.row for part in shown]), min(140.0, end * 1.4), top=20),
        table=_table(own, ratios, cap),
        version=f"{version}-{'none' if cap is None else cap}",
    )


def _title(parts: Sequence[Share], ratios: dict[int, float], cap: float | None, *, is_exact: bool) -> str:
    if not parts:
        return "No share of the client’s margin is known"
    largest = parts[0]
    share = ratios[largest.row.id] * 100
    most = "" if is_exact else "at most "
    finding = f"{largest.row.title} is {most}{share:.1f} % of the client’s margin"
    if cap is None:
        return f"{finding}; no cap is agreed"
    beyond = sum(ratios[part.row.id] * 100 > cap for part in parts)
    if beyond and is_exact:
        return f"{finding}; {count_words(beyond, 'position')} beyond the cap of {cap:g} %"
    if beyond:
        return f"{finding}; whether {count_words(beyond, 'position')} stand beyond {cap:g} % cannot be told"
    return f"{finding}, within the cap of {cap:g} %"


def _caption(cap: float | None, own: Shares, client: Shares, are_all: bool) -> str:
    words = ["Margin set aside for each position ÷ that of all positions of the client."]
    words.append("No cap is agreed with the client." if cap is None else "Line: the cap in force.")
    if own.without:
        named = ", ".join(row.title for row in own.without[:3])
        words.append(
            f"Not drawn: {named}{' and others' if len(own.without) > 3 else ''}, of no known dollar value."
        )
    if client.without or not are_all:
        words.append("Shares are of what is known, so the true ones are no larger.")
    return " ".join(words)


def _traces(
    shown: Sequence[Share], percents: Sequence[float], cap: float | None, end: float
) -> list[dict[str, Any]]:
    places = list(range(len(shown)))
    room = {
        "type": "bar",
        "orientation": "h",
        "name": "Up to the cap",
        "x": [min(cap or 0.0, end)] * len(shown),
        "y": places,
        "width": 0.74,
        "marker": {"color": "@grid"},
        "hoverinfo": "skip",
    }
    share = {
        "type": "bar",
        "orientation": "h",
        "name": "Share",
        "x": list(percents),
        "y": places,
        "width": 0.36,
        "text": [part.row.title for part in shown],
        "textposition": "none",
        "marker": {"color": [colour_of(part.row) for part in shown]},
        "hovertemplate": "%{text}: %{x:.2f} %<extra></extra>",
    }
    return [share] if cap is None else [room, share]


def _cap_line(cap: float) -> dict[str, Any]:
    line = {"color": "@ink", "width": 2}
    return {"type": "line", "x0": cap, "x1": cap, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _cap_name(cap: float, end: float) -> dict[str, Any]:
    return {
        "x": cap,
        "y": 1,
        "yref": "paper",
        "text": f"cap {cap:g} %",
        "showarrow": False,
        "font": {"size": 11, "color": "@ink", "weight": 600},
        "xanchor": "right" if cap > end * 0.6 else "left",
        "yanchor": "bottom",
    }


def _table(own: Shares, ratios: dict[int, float], cap: float | None) -> dict[str, Any]:
    def line(row: PositionRow, dollars: float | None) -> list[str]:
        ratio, within = ratios.get(row.id), own.of_positions.get(row.id)
        return [
            row.title,
            "not known" if dollars is None else grouped(dollars, 0),
            "not known" if ratio is None else grouped(ratio * 100, 2),
            "not known" if within is None else grouped(within * 100, 2),
            "none agreed" if cap is None else f"{cap:g}",
        ]

    return {
        "headers": ["Position", "Margin, USD", "Of the client, %", "Of the portfolio, %", "Cap, %"],
        "rows": [
            *(line(part.row, part.dollars) for part in own.parts),
            *(line(row, None) for row in own.without),
        ],
    }
