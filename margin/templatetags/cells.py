"""The cells of the positions table: what of a row stands under each column, and what under all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from html import escape
from typing import Any, NamedTuple, cast
from uuid import UUID

from django import template
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from advisors.moment import as_of_query, moment_shown
from margin.selectors.columns import Column
from margin.selectors.position_table import TableTotals
from margin.selectors.rows import STABLE_ASSETS, PositionRow
from margin.selectors.sparks import HEIGHT, WIDTH, Spark
from margin.templatetags.figures import (
    age,
    liquidation,
    money,
    or_reason,
    plain,
    price,
    ratio_percent,
    signed,
    times,
)
from margin.templatetags.sigmas import sigmas, touch

register = template.Library()
Text = str | SafeString
NOBODY = str(UUID(int=0))
NO_DOLLARS = "nothing here has a dollar price"


@dataclass(frozen=True, slots=True)
class Beside:
    """What belongs to the rows of a page beside their figures, by position; read only where its column is shown."""

    moment: datetime
    shares: Mapping[int, float | None] = field(default_factory=dict)
    sparks: Mapping[int, Spark] = field(default_factory=dict)
    since: Mapping[int, datetime] = field(default_factory=dict)
    tags: Mapping[int, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    row: PositionRow
    # Of a position whose id is to be put in.
    url: str
    columns: frozenset[str]
    beside: Beside

    @property
    def spark(self) -> Spark | None:
        return self.beside.sparks.get(self.row.id)

    @property
    def why(self) -> str | None:
        return self.row.liquidation_reason or self.row.reason


class _Priced(NamedTuple):
    """What `liquidation` reads of a row."""

    side: str
    tick_size: Decimal
    liquidation_price: Decimal | None


@lru_cache(maxsize=256)
def _chip(state: str, was: str | None) -> SafeString:
    return render_to_string("components/state.html", {"state": state, "was": was})


@lru_cache(maxsize=1)
def _behind() -> SafeString:
    return render_to_string("components/shape.html", {"state": "danger"})


@lru_cache(maxsize=4)
def _not_isolated() -> SafeString:
    return render_to_string("portfolios/_not_isolated.html", {"is_short": True})


def _link(line: Line, text: str) -> SafeString:
    row = line.row
    url = line.url.replace(NOBODY, str(row.public_id))
    return format_html('<a id="p-{}" href="{}" title="{}">{}</a>', row.public_id, url, text, text)


def _client(line: Line) -> Text:
    return _link(line, line.row.client_name)


def _position(line: Line) -> Text:
    return line.row.title if "client" in line.columns else _link(line, line.row.title)


def _amount(figure: str) -> Callable[[Line], Text]:
    def cell(line: Line) -> Text:
        return _in_asset(line.row, money(getattr(line.row, figure), line.row.settle_asset))

    return cell


def _in_asset(row: PositionRow, text: str) -> Text:
    if not text:
        return or_reason("", row.reason)
    if row.settle_asset in STABLE_ASSETS:
        return text
    return format_html('{} <span class="unit">{}</span>', text, row.settle_asset)


def _risk(line: Line) -> Text:
    text = _amount("max_loss")(line)
    if not line.row.auto_margin:
        return text
    return format_html("{}<br />{}", text, _not_isolated())


def _sigmas(line: Line) -> Text:
    """On the phone the distance in per cent stands beside it."""
    row = line.row
    if row.distance_sigmas is None:
        return (
            format_html('<span title="{}">never</span>', line.why or "")
            if row.is_never_liquidated
            else _no_sigmas(line)
        )
    small = format_html('<span class="only-s unit"> σ · {} %</span>', ratio_percent(row.distance_ratio, 2))
    return format_html("{}{}", sigmas(row.distance_sigmas), small)


def _no_sigmas(line: Line) -> Text:
    wide = or_reason("", line.row.sigma_reason)
    percent = ratio_percent(line.row.distance_ratio, 2)
    small = f"{percent} %" if percent else or_reason("", line.why)
    return format_html('<span class="hide-s">{}</span><span class="only-s">{}</span>', wide, small)


def _used(line: Line) -> Text:
    text = or_reason(ratio_percent(line.row.margin_ratio), line.row.reason)
    drawn = line.spark if line.spark and line.spark.worst is not None else None
    return format_html('<span class="cell end">{}{}</span>', spark(drawn), text) if drawn else text


def _stop(line: Line) -> Text:
    row = line.row
    if row.stop_price is None:
        return "none"
    text = price(row.stop_price, row.tick_size)
    if not row.stop_behind_liquidation:
        return text
    return format_html(
        '<span class="cell end strong" title="behind liquidation">{}{}'
        '<span class="vh">, behind liquidation</span></span>',
        _behind(),
        text,
    )


def _liquidation(line: Line) -> Text:
    """As `liquidation` writes it, without digits that are the noise of a float."""
    row = line.row
    priced = _Priced(row.side, row.tick_size, row.liquidation_shown)
    return or_reason(liquidation(cast(PositionRow, priced)), line.why)


def _share(line: Line) -> Text:
    share = line.beside.shares.get(line.row.id)
    return or_reason(ratio_percent(share), "Its portfolio holds margin that has no price in USD")


def _since(line: Line, at: datetime | None) -> str:
    return "" if at is None else age((line.beside.moment - at).total_seconds())


def _tags(line: Line) -> Text:
    return ", ".join(line.beside.tags.get(line.row.id, ())) or "none"


def _pnl(line: Line) -> Text:
    return _in_asset(line.row, signed(line.row.unrealised_pnl, line.row.settle_asset))


CELLS: dict[str, Callable[[Line], Text]] = {
    "state": lambda line: _chip(line.row.state, line.row.was),
    "client": _client,
    "position": _position,
    "portfolio": lambda line: line.row.portfolio_name,
    "account": lambda line: line.row.account_label,
    "reference": lambda line: line.row.external_id,
    # That the firm is a demo stands beside its name: not in every row again.
    "venue": lambda line: line.row.venue_name.removesuffix(" (demo)"),
    "side": lambda line: line.row.side,
    "settle": lambda line: line.row.settle_asset,
    "set_leverage": lambda line: or_reason(times(line.row.leverage), "The venue's figure was not recorded"),
    "leverage": lambda line: or_reason(times(line.row.effective_leverage), line.row.reason),
    "liquidation": _liquidation,
    "sigmas": _sigmas,
    "distance": lambda line: or_reason(ratio_percent(line.row.distance_ratio, 2), line.why),
    "touch": lambda line: touch(line.row, "1d"),
    "used": _used,
    "stop": _stop,
    "size": lambda line: format_html(
        '{} <span class="unit">{}</span>', plain(line.row.quantity), line.row.quantity_unit
    ),
    "value": _amount("value"),
    "margin": _amount("isolated_wallet"),
    "risk": _risk,
    "share": _share,
    "maintenance": _amount("maintenance_margin"),
    "entry": lambda line: price(line.row.entry_price, line.row.tick_size),
    "mark": lambda line: or_reason(price(line.row.mark_price, line.row.tick_size), line.row.reason),
    "pnl": _pnl,
    "age": lambda line: _since(line, line.row.opened_at),
    "since": lambda line: or_reason(_since(line, line.beside.since.get(line.row.id)), "Not known since when"),
    "tags": _tags,
    "priced": lambda line: or_reason(age(line.row.mark_age_seconds), line.row.reason),
}
FEET: dict[str, Callable[[TableTotals], Text]] = {
    "client": lambda totals: f"{totals.clients:,} client{'' if totals.clients == 1 else 's'}",
    "value": lambda totals: or_reason(money(totals.value_dollars), NO_DOLLARS),
    "margin": lambda totals: or_reason(money(totals.margin_dollars), NO_DOLLARS),
    "risk": lambda totals: or_reason(money(totals.risk_dollars), NO_DOLLARS),
    "maintenance": lambda totals: or_reason(money(totals.maintenance_dollars), NO_DOLLARS),
    "pnl": lambda totals: or_reason(signed(totals.pnl_dollars), NO_DOLLARS),
    "sigmas": lambda totals: or_reason(sigmas(totals.closest_sigmas), "no distance in σ is known"),
    "distance": lambda totals: or_reason(ratio_percent(totals.closest_ratio, 2), "no distance is known"),
    "used": lambda totals: or_reason(ratio_percent(totals.highest_used_ratio), "nothing is known"),
}


@register.simple_tag(takes_context=True)
def table_rows(
    context: template.Context, rows: Sequence[PositionRow], columns: tuple[Column, ...], beside: Beside
) -> SafeString:
    """Rows of the table: written here and not in a template, which takes several times as long for as many cells."""
    query = as_of_query(moment_shown(context.request))  # type: ignore[attr-defined]
    url = reverse("margin:position", args=[NOBODY]) + (f"?{query}" if query else "")
    keys = frozenset(column.key for column in columns)
    lines = [Line(row, url, keys, beside) for row in rows]
    # Markup of ours and cells that escape themselves: put together by hand, for a page has thousands of them.
    return SafeString(
        "\n".join(f'<tr class="{_tone(line.row)}">{_cells(line, columns)}</tr>' for line in lines)
    )


def _tone(row: PositionRow) -> str:
    return "is-stale" if row.state in {"stale", "unknown"} else ""


def _cells(line: Line, columns: tuple[Column, ...]) -> str:
    return "".join(f'<td class="{each.css}">{_safe(CELLS[each.key](line))}</td>' for each in columns)


def _safe(text: Text) -> str:
    """As conditional_escape, which takes several times as long for the same."""
    return text if isinstance(text, SafeString) else escape(text)


@register.simple_tag
def table_feet(totals: TableTotals, columns: tuple[Column, ...]) -> SafeString:
    """Totals under their columns; the first is how many rows there are."""
    cells: list[tuple[Any, ...]] = []
    for column in columns:
        write = FEET.get(column.key)
        text: Text = write(totals) if write else ""
        if column.key == "state":
            text = f"{totals.rows:,} row{'' if totals.rows == 1 else 's'}"
        cells.append(("num" if column.is_number else "", text))
    return format_html_join("", '<td class="{}">{}</td>', cells)


@register.simple_tag
def spark(drawn: Spark | None) -> SafeString:
    """The line of a sparkline, with what it shows in words; nothing where there is none."""
    if drawn is None or drawn.worst is None:
        return SafeString("")
    lines = "".join(f'<polyline points="{line}" />' for line in drawn.lines)
    return SafeString(
        f'<svg class="spark" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{drawn.finding}">'
        f"<title>{drawn.finding}</title>{lines}</svg>"
    )
