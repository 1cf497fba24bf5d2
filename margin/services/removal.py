"""What happened to a position, recorded; margin taken out of it now must leave what its venue asks for."""

from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any
from uuid import UUID

import numpy as np
from django.db import transaction
from django.utils import timezone

from margin.engine.figures import compute_figures
from margin.engine.initial import initial_margin
from margin.engine.reasons import Reason, describe_reason
from margin.engine.rules import RULES, UnknownRule, rule_index
from margin.engine.tiers import TierError, build_tiers
from margin.engine.types import KINDS, LONG, SHORT, Figures, Tiers, pack_positions
from margin.models import RiskState
from margin.selectors.ladders import ladder_of_instrument
from margin.selectors.market import age_limit_seconds
from margin.selectors.rows import COIN_STEP, MONEY_STEP, STABLE_ASSETS, WIDE
from portfolios.fold import EventRefused, WalletEmptied
from portfolios.importing import plain
from portfolios.models import Position, PositionEvent
from portfolios.services import Recorded, append_event

# Dated further back than this, a removal is a fact: the venue allowed it at a mark that was another one.
NOW_WITHIN = timedelta(minutes=5)
# How much of the value must stay in equity whatever the leverage. Hyperliquid: "transfer_margin_required =
# max(initial_margin_required, 0.1 * total_position_value)", and transferring includes isolated margin transfers,
# https://hyperliquid.gitbook.io/hyperliquid-docs/trading/margining (stored copy, read 2026-11-22).
LEAST_OF_VALUE = {"hyperliquid": 0.1}
# Where the wallet alone, without profit, must cover maintenance: see largest_removal().
WALLET_COVERS_MAINTENANCE = frozenset({"binance_usdm", "binance_coinm"})
BACK_DATE = "If the venue let it go, give the time at which it did."
COLUMNS = (
    *("side", "quantity", "entry_price", "isolated_wallet", "leverage", "version", "closed_at"),
    *("instrument__venue", "instrument__symbol", "instrument__kind", "instrument__contract_size"),
    *("instrument__settle_asset", "instrument__markprice__price", "instrument__markprice__source_at"),
    *("instrument__markprice__disputed_low", "instrument__markprice__disputed_high"),
    *("instrument__markprice__source", "id"),
)
# What makes a position unknown though it has figures.
DOUBTED = (Reason.TOUCHED, Reason.SUSPECT_MARK)


class RemovalRefused(EventRefused):
    """More margin is to leave now than the venue lets go, or it cannot be told how much that is."""


@transaction.atomic
def record_event(
    *,
    position: UUID,
    kind: str,
    amount: Decimal | None = None,
    effective_at: datetime | None = None,
    replaces_seq: int | None = None,
    **given: Any,
) -> Recorded:
    """Append the event, unless it takes out more margin now than the venue lets go; arguments as append_event.

    Raises PositionNotFound, PositionChanged or fold.EventRefused, and then has written nothing.
    """
    values = {"amount": amount, "effective_at": effective_at, "replaces_seq": replaces_seq, **given}
    try:
        seq = append_event(position=position, kind=kind, **values)
    except WalletEmptied as refusal:
        if amount is not None and replaces_seq is None and _is_now(effective_at):
            held = _read_held(position)
            raise _refuse(held, amount, largest_removal(held)) from refusal
        raise
    held = _read_held(position)
    removes = kind == "margin_removed" and held["closed_at"] is None
    if removes and amount is not None and _is_now(_moment_of(seq)):
        spare = largest_removal(held)
        if spare < 0:
            raise _refuse(held, amount, spare + amount)
    return Recorded(seq=seq, version=held["version"])


def _is_now(moment: datetime | None) -> bool:
    return moment is None or moment > timezone.now() - NOW_WITHIN


def _moment_of(seq: int) -> datetime:
    """A correction may have taken over the moment of what it corrects."""
    return PositionEvent.objects.values_list("effective_at", flat=True).get(seq=seq)


def _read_held(position: UUID) -> dict[str, Any]:
    held: dict[str, Any] = dict(Position.objects.values(*COLUMNS).get(public_id=position))
    # Where sources disagree the price that is worse for it, as in its figures.
    worse = held[f"instrument__markprice__disputed_{'low' if held['side'] == 'long' else 'high'}"]
    return held if worse is None else held | {"instrument__markprice__price": worse}


def _refuse(held: dict[str, Any], amount: Decimal, most: Decimal) -> RemovalRefused:
    asset = held["instrument__settle_asset"]
    most = most.quantize(_step(held), rounding=ROUND_FLOOR, context=WIDE)
    allowed = f"at most {plain(most)} {asset}" if most > 0 else "nothing"
    return RemovalRefused(
        "amount",
        f"At the mark of {plain(held['instrument__markprice__price'])} the venue lets {allowed} be removed, "
        f"not {plain(amount)}. {BACK_DATE}",
    )


def largest_removal(held: dict[str, Any]) -> Decimal:
    """What may leave the position as it stands, below zero where it lacks margin already.

    Equity at the mark, with its unrealised profit or loss, must stay at or above the initial margin at the mark
    with the leverage that is set; at Binance the wallet alone must also cover maintenance: "max (0, min
    (isolatedWalletBalance - isolatedPosition MM, isolatedWalletBalance + size * (Mark Price - Entry Price)
    - Mark Price * abs(size) * IMR))", and the same for COIN-M in coin,
    https://www.binance.com/en-NZ/support/faq/how-to-adjust-margin-balance-in-cross-isolated-margin-mode-360038447311
    (stored copy, read 2026-11-22). Where no venue document is known the first condition alone is taken.
    Raises RemovalRefused where it cannot be told: unknown is not shown as safe.
    """
    mark_at = held["instrument__markprice__source_at"]
    limit = timedelta(seconds=age_limit_seconds(held["instrument__markprice__source"] or ""))
    if mark_at is None or abs(timezone.now() - mark_at) > limit:
        raise _unknown("there is no fresh mark")
    doubt = (
        RiskState.objects.filter(id=held["id"], reason__in=DOUBTED).values_list("reason", flat=True).first()
    )
    if doubt is not None:
        raise _unknown(describe_reason(doubt).removeprefix("unknown: "))
    tiers, venue, figures = _figures_of(held)
    if not np.isfinite(figures.maintenance_margin[0]):
        raise _unknown(describe_reason(int(figures.reason[0])).removeprefix("unknown: "))
    value = figures.value[:1]
    needed = initial_margin(value, np.array([_leverage_in_force(held, tiers, int(figures.tier[0]))]))
    spare = figures.equity[0] - max(needed[0], LEAST_OF_VALUE.get(venue, 0.0) * value[0])
    if venue in WALLET_COVERS_MAINTENANCE:
        spare = min(spare, float(held["isolated_wallet"]) - figures.maintenance_margin[0])
    # Two decimals beyond the asset's: what is left of a float's own noise must not cost a cent.
    step = _step(held).scaleb(-2)
    wallet: Decimal = held["isolated_wallet"]
    return min(Decimal(float(spare)).quantize(step, context=WIDE), wallet)


def _step(held: dict[str, Any]) -> Decimal:
    return MONEY_STEP if held["instrument__settle_asset"] in STABLE_ASSETS else COIN_STEP


def _leverage_in_force(held: dict[str, Any], tiers: Tiers, tier: int) -> float:
    """The leverage set, and never more than the tier allows; without one that."""
    set_ = float("nan") if held["leverage"] is None else float(held["leverage"])
    leverage = float(np.fmin(set_, tiers.max_leverage[tier] if tier >= 0 else float("nan")))
    if np.isnan(leverage):
        raise _unknown("neither the leverage set nor the most this size may have is known")
    return leverage


def _figures_of(held: dict[str, Any]) -> tuple[Tiers, str, Figures]:
    """The engine's figures of the one position at the newest mark, with the tiers and the venue they rest on."""
    venue, kind = held["instrument__venue"], KINDS.get(held["instrument__kind"], -1)
    try:
        rule = rule_index(venue, kind, timezone.now().date())
        ladder = ladder_of_instrument(venue, held["instrument__symbol"])
        tiers = build_tiers([] if ladder is None else [ladder])
    except (UnknownRule, TierError) as error:
        raise _unknown("the venue's margin rule for it is not known") from error
    if not len(tiers):
        raise _unknown("its margin tiers are not known")
    figures = compute_figures(
        pack_positions(
            side=[LONG if held["side"] == "long" else SHORT],
            kind=[kind],
            size=[held["quantity"] * held["instrument__contract_size"]],
            contracts=[held["quantity"]],
            entry_price=[held["entry_price"]],
            wallet=[held["isolated_wallet"]],
            mark_price=[held["instrument__markprice__price"]],
            fee_rate=[float(RULES[rule].default_fee_rate)],
            rule=[rule],
            ladder=[0],
            leverage=[held["leverage"]],
        ),
        tiers,
    )
    return tiers, RULES[rule].venue, figures


def _unknown(why: str) -> RemovalRefused:
    return RemovalRefused(
        "effective_at",
        f"It cannot be told how much margin the venue lets go now, for {why}. {BACK_DATE}",
    )
