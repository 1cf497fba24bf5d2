"""A client's isolated margin: what is left in each position and lost so far, and what stands free beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from margin.charts.book import short_money
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
from margin.selectors.holdings import Free, FreeTotal, Holdings, lost_so_far
from margin.selectors.limits import has_figures
from margin.selectors.rows import PositionRow
from margin.selectors.shares import Share
from portfolios.selectors import BalanceRow

CAPTION = (
    "One bar a position: the margin set aside for it, USD; light: lost so far at the mark. Below: free "
    "collateral of each account; hatched: the venue may draw it into a position."
)
ROOM_FOR_WORDS, NARROW_ROOM = 1.42, 2.1


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    left: float
    lost: float
    words: str
    colour: str
    pattern: str
    is_sure: bool


def boxes_figure(holdings: Holdings, free: FreeTotal) -> Figure:
    shown = holdings.shares.parts[:MOST_LINES]
    boxes = [
        _box(name, part) for name, part in zip(names_of([part.row for part in shown]), shown, strict=True)
    ]
    accounts = [
        _account(found, found.balance, found.dollars)
        for found in free.rows
        if found.balance is not None and found.dollars is not None
    ]
    lines = [*boxes, *accounts]
    widest = max((line.left + line.lost for line in lines), default=0.0) or 1.0
    title = _title(holdings, free)
    return Figure(
        title=title,
        caption=CAPTION
        + and_more(len(shown), len(holdings.shares.parts), "largest positions are drawn")
        + _left_out(holdings, free),
        alt=f"{title}. {_alt(lines)}",
        # Without a line there is nothing that an axis could measure.
        data=_traces(lines) if lines else [],
        layout={
            "margin": {"l": LEFT_PX, "r": 16, "t": 8, "b": 42},
            "barmode": "stack",
            "bargap": 0.34,
            "xaxis": {
                "title": {"text": "USD"},
                "range": [0, widest * ROOM_FOR_WORDS],
                "nticks": 6,
                "tickformat": "~s",
                "visible": bool(lines),
            },
            "yaxis": lines_axis([line.name for line in lines]),
            "annotations": _words_behind(lines),
        },
        narrow=narrow_lines([line.name for line in lines], widest * NARROW_ROOM, top=8),
        table=_table(holdings.rows, free.rows),
        version=_version(holdings, free),
    )


def _words_behind(lines: Sequence[_Line]) -> list[dict[str, Any]]:
    return [note(line.left + line.lost, place, line.words) for place, line in enumerate(lines)]


def lines_of(holdings: Holdings, free: FreeTotal) -> int:
    """How many lines the figure has, for the place that is kept for it."""
    accounts = sum(found.dollars is not None for found in free.rows)
    return min(len(holdings.shares.parts), MOST_LINES) + accounts


def _box(name: str, part: Share) -> _Line:
    row, lost = part.row, lost_so_far(part.row)
    gone = min(lost or 0.0, part.dollars)
    if lost is None:
        words = f"{short_money(part.dollars)}, loss not known"
    elif gone:
        words = f"{short_money(part.dollars)}, {100 * gone / part.dollars:.0f} % lost"
    else:
        words = (
            f"{short_money(part.dollars)}, in profit"
            if (row.unrealised_pnl or 0) > 0
            else short_money(part.dollars)
        )
    if row.auto_margin:
        words += ", topped up"
    return _Line(
        name=name,
        left=part.dollars - gone,
        lost=gone,
        words=words,
        colour=colour_of(row),
        pattern="",
        is_sure=has_figures(row),
    )


def _account(found: Free, balance: BalanceRow, dollars: float) -> _Line:
    words = f"{short_money(dollars)} free"
    words += ", may be drawn" if found.account.auto_margin else ""
    words += ", over 24 h old" if balance.is_old else ""
    return _Line(
        name=f"{found.account.label}, {balance.asset}",
        left=dollars,
        lost=0.0,
        words=words,
        colour="@ink-3",
        pattern="/" if found.account.auto_margin else "",
        is_sure=not balance.is_old,
    )


def _traces(lines: Sequence[_Line]) -> list[dict[str, Any]]:
    places = list(range(len(lines)))
    return [
        {
            "type": "bar",
            "orientation": "h",
            "name": "Left",
            "x": [line.left for line in lines],
            "y": places,
            "text": [line.name for line in lines],
            "textposition": "none",
            "marker": {
                "color": [line.colour for line in lines],
                "opacity": [0.9 if line.is_sure else 0.45 for line in lines],
                "pattern": {"shape": [line.pattern for line in lines], "fgcolor": "@surface", "size": 6},
            },
            "hovertemplate": "%{text}: %{x:,.0f} USD left<extra></extra>",
        },
        {
            "type": "bar",
            "orientation": "h",
            "name": "Lost so far",
            "x": [line.lost for line in lines],
            "y": places,
            "text": [line.name for line in lines],
            "textposition": "none",
            "marker": {
                "color": "@surface-2",
                "line": {"width": 1, "color": [line.colour for line in lines]},
            },
            "hovertemplate": "%{text}: %{x:,.0f} USD lost so far<extra></extra>",
        },
    ]


def _title(holdings: Holdings, free: FreeTotal) -> str:
    total, lost = holdings.shares.total_dollars, holdings.lost_dollars
    if total is None:
        boxes = "What the positions hold is not known" if holdings.rows else "No position is open"
    else:
        count = len(holdings.shares.parts)
        held = f"{count_words(count, 'position')} hold{'s' if count == 1 else ''} {short_money(total)} USD"
        boxes = f"{held}, {short_money(lost)} of it lost so far" if lost else held
        if lost is None:
            boxes += ", how much of it is lost is not known"
    if free.dollars is None:
        return f"{boxes}; free collateral is not known"
    least = "at least " if free.left_out else ""
    return f"{boxes}; {least}{short_money(free.dollars)} USD stands free beside them"


def _alt(lines: Sequence[_Line]) -> str:
    return " ".join(f"{line.name}: {line.words}." for line in lines[:4])


def _left_out(holdings: Holdings, free: FreeTotal) -> str:
    words, without = [], holdings.shares.without
    if without:
        words.append(f"{count_words(len(without), 'position')} whose collateral has no fresh dollar price")
    if free.not_known:
        words.append(f"{count_words(free.not_known, 'account')} whose free collateral is not known")
    if free.without_dollars:
        words.append(f"{count_words(free.without_dollars, 'balance')} without a dollar price")
    if not holdings.are_all:
        words.append("all but the worst positions")
    return f" Left out: {', '.join(words)}." if words else ""


def _table(rows: Sequence[PositionRow], free: Sequence[Free]) -> dict[str, Any]:
    boxes = [
        [
            row.title,
            row.state,
            f"{grouped(float(row.isolated_wallet), 2)} {row.settle_asset}",
            "not known" if (lost := lost_so_far(row)) is None else grouped(lost, 0),
        ]
        for row in rows
    ]
    accounts = [
        [
            f"Free in {found.account.label}",
            "may be drawn into a position" if found.account.auto_margin else "isolated from the positions",
            "not known"
            if found.balance is None
            else f"{grouped(float(found.balance.free_collateral), 2)} {found.balance.asset}",
            "—",
        ]
        for found in free
    ]
    return {
        "headers": ["Position", "State", "Set aside or free", "Lost so far, USD"],
        "rows": boxes + accounts,
    }


def _version(holdings: Holdings, free: FreeTotal) -> str:
    """Balances change without a run."""
    known = [found.balance.recorded_at for found in free.rows if found.balance]
    newest = f"{max(known):%Y%m%dT%H%M%S.%f}" if known else "none"
    return f"{holdings.run_id}-{newest}-{len(free.rows)}"
