"""Our columns, for each kind of file: how a cell of each is read, and what else goes by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from portfolios.importing.cells import (
    CellError,
    parse_decimal,
    parse_leverage,
    parse_moment,
    parse_place,
    parse_positive,
    parse_side,
    parse_signed,
    parse_text,
    parse_uuid,
    shown,
)

POSITIONS, EVENTS, CLIENTS = "positions", "events", "clients"
# The kinds of portfolios.fold; a voided event can only be a repeat of one of ours.
EVENT_KINDS = (
    "opened",
    "increased",
    "reduced",
    "margin_added",
    "margin_removed",
    "leverage_set",
    "stop_set",
    "funding",
    "fee",
    "closed",
    "liquidated",
    "deleveraged",
    "adjusted",
    "voided",
)


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """How a cell is read, whether it may be empty, and whether every file must have the column.

    form is text, number (obeys the decimal mark) or moment (obeys the time zone); hint is for whoever maps columns.
    """

    parse: Callable[[str], Any]
    form: str = "text"
    required: bool = True
    in_every_file: bool = True
    hint: str = ""


def _text(limit: int, hint: str = "") -> ColumnRule:
    return ColumnRule(partial(parse_text, limit=limit), hint=hint)


def _optional(
    parse: Callable[[str], Any], form: str = "text", *, required: bool = False, hint: str = ""
) -> ColumnRule:
    """A column that a file need not have; required: one that has it has it in every line."""
    return ColumnRule(parse, form, required=required, in_every_file=False, hint=hint)


def _optional_text(limit: int, hint: str = "") -> ColumnRule:
    return _optional(partial(parse_text, limit=limit), hint=hint)


def _parse_venue(text: str) -> str:
    return parse_text(text, 32).lower()


def _parse_event(text: str) -> str:
    kind = text.strip(" ").lower().replace(" ", "_").replace("-", "_")
    if kind not in EVENT_KINDS:
        raise CellError(
            f"{shown(text.strip(' '))} is no kind of event; known are {', '.join(EVENT_KINDS[:-1])}."
        )
    return kind


POSITION_ID = _optional(parse_uuid, hint="our own id of the position, as our exports show it")
POSITION_COLUMNS = {
    # Every file has it, or position_id instead.
    "client": _optional_text(40, "the client's reference"),
    "portfolio": _text(120),
    "account": _text(80),
    "venue": ColumnRule(_parse_venue),
    "symbol": _text(40),
    "side": ColumnRule(parse_side, hint="long or short"),
    "quantity": ColumnRule(parse_positive, "number", hint="size, above zero"),
    "entry_price": ColumnRule(parse_positive, "number"),
    "isolated_wallet": _optional(
        parse_positive, "number", required=True, hint="margin without unrealised P&L"
    ),
    "external_id": _text(80, "the venue's or your own id of the position"),
    "leverage": _optional(parse_leverage, "number"),
    "stop_price": _optional(parse_positive, "number"),
    "opened_at": _optional(parse_moment, "moment"),
    "note": _optional_text(500),
    "isolated_margin_incl_upnl": _optional(
        parse_decimal, "number", required=True, hint="margin with unrealised P&L, together with mark_price"
    ),
    "mark_price": _optional(
        parse_positive, "number", required=True, hint="the mark at which isolated_margin_incl_upnl was taken"
    ),
    "position_id": POSITION_ID,
}
# An open position of ours may owe more than its wallet, while its unrealised profit carries the debt.
OWN_WALLET = _optional(parse_signed, "number", required=True)
EVENT_COLUMNS = {
    "client": _optional_text(40, "the client's reference"),
    "account": _optional_text(80),
    "venue": _optional(_parse_venue),
    "external_id": _optional_text(80, "the venue's or your own id of the position"),
    "position_id": POSITION_ID,
    "event": ColumnRule(_parse_event, hint="opened, increased, funding, closed and so on"),
    "effective_at": ColumnRule(parse_moment, "moment", hint="when it happened"),
    "quantity": _optional(parse_positive, "number"),
    "price": _optional(parse_positive, "number"),
    "amount": _optional(
        parse_signed, "number", hint="of funding and fees: paid is above zero, received below"
    ),
    "leverage": _optional(parse_leverage, "number"),
    "rate": _optional(parse_signed, "number", hint="the funding rate"),
    "note": _optional_text(500),
    "venue_event_id": _optional_text(80, "the venue's own id of the event"),
    "portfolio": _optional_text(120, "for a position that is not there yet"),
    "symbol": _optional_text(40, "for a position that is not there yet"),
    "side": _optional(parse_side, hint="for a position that is not there yet"),
    "seq": _optional(parse_place, hint="only in our own export of events"),
}
CLIENT_COLUMNS = {
    "reference": _text(40),
    "name": _text(120),
}
COLUMNS_BY_KIND = {POSITIONS: POSITION_COLUMNS, EVENTS: EVENT_COLUMNS, CLIENTS: CLIENT_COLUMNS}
# Two numbers go by these names, and a liquidation price made of the wrong one is wrong.
AMBIGUOUS = {
    "isolated_margin",
    "isolatedmargin",
    "isolated",
    "margin",
    "position_margin",
    "margin_balance",
}
AMBIGUOUS_HINT = (
    "may or may not contain unrealised P&L: give isolated_wallet, which excludes it, "
    "or isolated_margin_incl_upnl with mark_price, which includes it."
)
# What else a column is called, in venues' files and in our own exports; only ever a proposal.
OTHER_NAMES = {
    "client": ("client_reference", "reference"),
    "reference": ("client_reference", "client"),
    "name": ("client_name",),
    "account": ("account_label", "sub_account", "subaccount"),
    "venue": ("exchange",),
    "symbol": ("instrument", "contract", "market", "pair"),
    "side": ("direction", "position_side"),
    "quantity": ("qty", "size", "position_size", "contracts"),
    "entry_price": ("avg_entry_price", "average_entry_price", "avg_price", "entry"),
    "external_id": ("position", "id"),
    "leverage": ("leverage_set",),
    "stop_price": ("stop", "stop_loss"),
    "opened_at": ("opened", "open_time", "created_time", "created_at"),
    "isolated_margin_incl_upnl": ("margin_incl_upnl",),
    "mark_price": ("mark",),
    "event": ("kind", "type", "event_type"),
    "effective_at": ("time", "timestamp", "date", "datetime", "at"),
    "price": ("fill_price", "exec_price"),
    "rate": ("funding_rate",),
    "note": ("comment", "remark"),
    "venue_event_id": ("event_id", "trade_id", "order_id"),
}
# Whatever of these a header names tells its delimiter.
KNOWN_NAMES = {name for columns in COLUMNS_BY_KIND.values() for name in columns} | {
    name for names in OTHER_NAMES.values() for name in names
}
