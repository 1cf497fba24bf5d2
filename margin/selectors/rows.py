"""The one row of a position with its risk that pages, API and exports share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from math import isfinite, isnan, nan
from typing import Any
from uuid import UUID

from django.conf import settings

from margin.engine.reasons import describe_reason
from margin.engine.rules import (
    Rounding,
    UnknownRule,
    VenueRule,
    displayed_liquidation_price,
    rule_for,
    venue_margin_ratio,
)
from margin.engine.states import STATE_WORDS
from margin.engine.types import KINDS, LONG, SHORT
from margin.selectors.ladders import day_of
from margin.selectors.odds import Shown, odds_fields, sigma_fields
from portfolios.importing import plain

STABLE_ASSETS = frozenset({"USDT", "USDC", "USD", "BUSD", "FDUSD"})
MONEY_STEP, COIN_STEP = Decimal("0.01"), Decimal("0.00000001")
# The largest admissible size times the largest price has 54 digits before the point.
WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)
# Digits of a price of which the tick would leave less.
SIGNIFICANT = 5
# Venues that print what they computed, digit for digit.
UNROUNDED = frozenset({Rounding.NONE, Rounding.TICK_NEARER_MARK})
NOT_COMPUTED = "Not computed yet"
CHANGED = "Changed since it was last computed"
LEVELS_CHANGED = "The firm's levels changed since it was last computed"
ENDED = {
    "liquidated": "Liquidated by the venue",
    "deleveraged": "Deleveraged by the venue",
    "voided": "Withdrawn: everything recorded of it was taken back",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRow:
    """A position now, or as it stood. None is always explained by a reason; state is what may be shown as a colour."""

    id: int
    public_id: UUID
    client_id: UUID
    client_name: str
    portfolio_id: UUID
    portfolio_name: str
    account_label: str
    external_id: str
    venue: str
    venue_name: str
    symbol: str
    base_asset: str
    quote_asset: str
    settle_asset: str
    kind: str
    side: str
    quantity: Decimal
    contract_size: Decimal
    quantity_unit: str
    tick_size: Decimal
    entry_price: Decimal
    isolated_wallet: Decimal
    leverage: Decimal | None
    stop_price: Decimal | None
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str
    version: int
    stop_behind_liquidation: bool
    state: str
    was: str | None
    reason: str | None
    mark_price: Decimal | None
    mark_at: datetime | None
    mark_age_seconds: float | None
    computed_at: datetime | None
    value: Decimal | None
    unrealised_pnl: Decimal | None
    equity: Decimal | None
    maintenance_margin: Decimal | None
    max_loss: Decimal | None
    margin_ratio: float | None
    distance_ratio: float | None
    distance_money: Decimal | None
    # In standard deviations of the log of the mark over a day: σ is one day's typical move of this mark.
    distance_sigmas: float | None
    daily_volatility: float | None
    sigma_reason: str | None
    # P(the mark touches liquidation within an hour, a day, seven days): a model, none of an old mark.
    odds_1h: float | None
    odds_1d: float | None
    odds_7d: float | None
    odds_reason: str | None
    # What the venue itself calls its margin ratio, in its own direction.
    venue_ratio: float | None
    venue_ratio_name: str
    venue_ratio_meaning: str
    liquidation_price: Decimal | None
    liquidation_reason: str | None
    bankruptcy_price: Decimal | None
    effective_leverage: float | None
    upnl_of_margin_ratio: float | None
    # The mark is the close of a minute: single marks of then are no longer kept.
    snapped: bool
    # The venue tops the account up: what is set aside for the position is not all that it can lose.
    auto_margin: bool

    @property
    def title(self) -> str:
        return f"{self.symbol} {self.side}"

    @property
    def liquidation_shown(self) -> Decimal | None:
        """Without the noise of a float, towards the mark, where the venue itself does not round."""
        rule, value = venue_rule(self.venue, self.kind), self.liquidation_price
        if value is None or rule is None or rule.rounding not in UNROUNDED:
            return value
        rounding = ROUND_CEILING if self.side == "long" else ROUND_FLOOR
        return trim(value.quantize(_price_step(value, self.tick_size), rounding=rounding, context=WIDE))

    @property
    def is_never_liquidated(self) -> bool:
        """There is no price at which it would be: known, not missing."""
        return (self.liquidation_reason or "").startswith("never")


def money(value: float | None, asset: str) -> Decimal | None:
    """A float of the engine as money of an asset: quantised here, once."""
    if value is None or not isfinite(value):
        return None
    step = MONEY_STEP if asset in STABLE_ASSETS else COIN_STEP
    return Decimal(value).quantize(step, context=WIDE)


def price(value: float | None, tick_size: Decimal) -> Decimal | None:
    """A float of the engine as a price: two decimals beyond the tick, for it is no quotation, more of a tiny one."""
    if value is None or not isfinite(value):
        return None
    exact = Decimal(value)
    return exact.quantize(_price_step(exact, tick_size), context=WIDE)


def _price_step(exact: Decimal, tick_size: Decimal) -> Decimal:
    """No digits of what is nothing but the noise of a float."""
    least = _tick_decimals(tick_size) + 2
    return Decimal(1).scaleb(-min(price_decimals(exact, least), least + 4))


def price_move(value: float | None, tick_size: Decimal) -> Decimal | None:
    """A difference of prices: two decimals beyond the tick, and nothing where it is less."""
    if value is None or not isfinite(value):
        return None
    return Decimal(value).quantize(Decimal(1).scaleb(-_tick_decimals(tick_size) - 2), context=WIDE)


def price_decimals(value: Decimal, tick_decimals: int) -> int:
    """How a price is written wherever it is: to its tick, and to five digits where the tick leaves fewer than four.

    A liquidation price far below the mark can be a fraction of a tick, and one digit of it is no price.
    """
    if not value or value.adjusted() + tick_decimals >= SIGNIFICANT - 2:
        return tick_decimals
    return SIGNIFICANT - 1 - value.adjusted()


def _tick_decimals(tick_size: Decimal) -> int:
    return max(0, -int(tick_size.normalize().as_tuple().exponent))


def trim(value: Decimal | None) -> Decimal | None:
    """Without the zeros that NUMERIC(38,18) pads, without an exponent, and without losing a digit."""
    return None if value is None else Decimal(plain(value))


# Asked for every row, and the answer never changes while the process lives.
@lru_cache(maxsize=4096)
def venue_rule(venue: str, kind: str, day: date | None = None) -> VenueRule | None:
    """The rule in force on a day, or the newest."""
    try:
        return rule_for(venue, KINDS[kind], day)
    except (UnknownRule, KeyError):
        return None


def _shown_liquidation(raw: dict[str, Any], rule: VenueRule | None) -> Decimal | None:
    value = raw["liquidation_price"]
    if value is None or rule is None:
        return None
    side = LONG if raw["side"] == "long" else SHORT
    return trim(displayed_liquidation_price(rule, value, side, raw["tick_size"]))


def _shown(raw: dict[str, Any]) -> Shown:
    if raw["closed_at"] is not None:
        return Shown("closed", None, ENDED.get(raw["closed_by"], "Closed"))
    if raw["state"] is None:
        return Shown("unknown", None, NOT_COMPUTED)
    word = STATE_WORDS[raw["state"]]
    if word == "unknown":
        return Shown("unknown", None, describe_reason(raw["reason"]))
    why_stale = _why_stale(raw)
    return Shown("stale", word, why_stale) if why_stale else Shown(word, None, None)


def _why_stale(raw: dict[str, Any]) -> str | None:
    limit = settings.MARK_AGE_LIMIT.total_seconds()
    if raw["risk_version"] != raw["version"]:
        return CHANGED
    if raw["levels_at"] is not None and raw["computed_at"] < raw["levels_at"]:
        return LEVELS_CHANGED
    allowed = raw["mark_age_limit_seconds"]
    if raw["mark_age_seconds"] > allowed or -raw["mark_age_seconds"] > limit:
        return f"The mark is older than {allowed} s"
    if raw["computed_age_seconds"] > limit:
        return f"Not computed for over {limit:.0f} s"
    return None


def _stop_is_behind(raw: dict[str, Any]) -> bool:
    if raw["stop_price"] is None or raw["liquidation_price"] is None:
        return False
    stop, liquidation = float(raw["stop_price"]), float(raw["liquidation_price"])
    return stop <= liquidation if raw["side"] == "long" else stop >= liquidation


def _figures(raw: dict[str, Any], rule: VenueRule | None) -> dict[str, Any]:
    settle, tick = raw["settle_asset"], raw["tick_size"]
    mark, liquidation = raw["mark_price"], raw["liquidation_price"]
    wallet = float(raw["isolated_wallet"])
    pnl = raw["unrealised_pnl"]
    return {
        "mark_price": None if mark is None else trim(Decimal(repr(mark))),
        "value": money(raw["value"], settle),
        "unrealised_pnl": money(pnl, settle),
        "equity": money(raw["equity"], settle),
        "maintenance_margin": money(raw["maintenance_margin"], settle),
        "max_loss": money(raw["max_loss"], settle),
        "margin_ratio": raw["margin_ratio"],
        "distance_ratio": raw["distance_ratio"],
        "distance_money": None if None in (mark, liquidation) else price_move(abs(mark - liquidation), tick),
        "liquidation_price": _shown_liquidation(raw, rule),
        "liquidation_reason": describe_reason(raw["liquidation_reason"])
        if raw["liquidation_reason"]
        else None,
        "bankruptcy_price": price(raw["bankruptcy_price"], tick),
        "effective_leverage": raw["effective_leverage"],
        "upnl_of_margin_ratio": None if pnl is None or wallet <= 0 else pnl / wallet,
        "venue_ratio": _venue_ratio(raw, rule),
        "venue_ratio_name": rule.ratio_name if rule else "",
        "venue_ratio_meaning": rule.ratio.value if rule else "",
    }


def _venue_ratio(raw: dict[str, Any], rule: VenueRule | None) -> float | None:
    if rule is None or raw["margin_ratio"] is None:
        return None
    equity, value = (nan if raw[name] is None else raw[name] for name in ("equity", "value"))
    found = venue_margin_ratio(rule, margin_ratio=raw["margin_ratio"], equity=equity, value=value)
    return None if isnan(found) else found


# Columns that are shown as the database has them.
SHARED = (
    *("id", "public_id", "client_id", "client_name", "portfolio_id", "portfolio_name", "account_label"),
    *("external_id", "venue", "symbol", "base_asset", "quote_asset", "settle_asset", "kind", "side"),
    *("opened_at", "closed_at", "closed_by", "version", "mark_age_seconds", "computed_at", "snapped"),
    "auto_margin",
)


# What is gone when the position is: its last figures belong to its history, not to now.
FIGURES_OF_OPEN = (
    *("mark_price", "priced_at", "computed_at", "mark_age_seconds", "value", "unrealised_pnl", "equity"),
    *("maintenance_margin", "max_loss", "margin_ratio", "distance_ratio", "distance_sigmas"),
    *(
        "daily_volatility",
        "liquidation_price",
        "liquidation_reason",
        "bankruptcy_price",
        "effective_leverage",
    ),
)


def build_row(raw: dict[str, Any], *, as_of: datetime | None = None) -> PositionRow:
    return build_rows([raw], as_of=as_of)[0]


def build_rows(raws: Sequence[dict[str, Any]], *, as_of: datetime | None = None) -> list[PositionRow]:
    """From database rows, floats and all, to what is shown."""
    given = [_without_figures(raw) if raw["closed_at"] is not None else raw for raw in raws]
    shown = [_shown(raw) for raw in given]
    day = None if as_of is None else day_of(as_of)
    odds = odds_fields(given, shown)
    return [_build(*each, day) for each in zip(given, shown, odds, strict=True)]


def _without_figures(raw: dict[str, Any]) -> dict[str, Any]:
    return raw | dict.fromkeys(FIGURES_OF_OPEN) | {"snapped": False}


def _build(raw: dict[str, Any], shown: Shown, odds: dict[str, Any], day: date | None) -> PositionRow:
    rule = venue_rule(raw["venue"], raw["kind"], day)
    return PositionRow(
        **{name: raw[name] for name in SHARED if name != "snapped"},
        snapped=bool(raw["snapped"]),
        **_figures(raw, rule),
        **sigma_fields(raw, shown),
        **odds,
        venue_name=venue_name(raw["venue"], rule),
        quantity=trim(raw["quantity"]),  # type: ignore[arg-type]
        contract_size=trim(raw["contract_size"]),  # type: ignore[arg-type]
        quantity_unit=raw["base_asset"]
        if raw["kind"] == "linear" and raw["contract_size"] == 1
        else "contracts",
        tick_size=trim(raw["tick_size"]),  # type: ignore[arg-type]
        entry_price=trim(raw["entry_price"]),  # type: ignore[arg-type]
        isolated_wallet=trim(raw["isolated_wallet"]),  # type: ignore[arg-type]
        leverage=trim(raw["leverage"]),
        stop_price=trim(raw["stop_price"]),
        stop_behind_liquidation=_stop_is_behind(raw),
        state=shown.state,
        was=shown.was,
        reason=shown.reason,
        mark_at=raw["priced_at"],
    )


def venue_name(venue: str, rule: VenueRule | None) -> str:
    name = rule.name if rule else venue
    return f"{name} (demo)" if venue.startswith("demo-") else name


def venue_label(venue: str) -> str:
    """A venue's name without knowing the contract."""
    rules = [rule for rule in (venue_rule(venue, kind) for kind in KINDS) if rule is not None]
    return venue_name(venue, rules[0] if rules else None)
