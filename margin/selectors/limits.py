"""What was agreed with a client held against what they hold; a figure nobody knows never counts as kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf, isfinite
from uuid import UUID

from advisors.selectors import TermRow
from advisors.terms import Term, written
from margin.selectors.dollars import has_dollar_price, in_dollars
from margin.selectors.rows import MONEY_STEP, STABLE_ASSETS, PositionRow

PERCENT_STEP, LEVERAGE_STEP = Decimal("0.01"), Decimal("0.01")
STEPS = {"%": PERCENT_STEP, "×": LEVERAGE_STEP, "USD": MONEY_STEP}
KEPT, BROKEN, UNKNOWN = "kept", "broken", "unknown"
IN_DOLLARS = frozenset({"max_isolated_margin", "max_loss_per_position", "max_position_share"})
NOT_ALL = "not all positions were looked at"
# A figure of one position in the limit's unit; None where nobody knows it.
Figure = Callable[[PositionRow], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitCheck:
    """One limit of a profile against the book: is_broken is None where it cannot be told."""

    term: TermRow
    limit: Decimal
    value: Decimal | None
    position: PositionRow | None
    is_broken: bool | None
    sentence: str

    @property
    def verdict(self) -> str:
        return UNKNOWN if self.is_broken is None else BROKEN if self.is_broken else KEPT


def has_figures(row: PositionRow) -> bool:
    return row.state not in {"unknown", "stale"}


def _dollars(row: PositionRow, amount: Decimal | None) -> float | None:
    """A coin counts at its own mark only while that is known and fresh."""
    is_sure = row.settle_asset in STABLE_ASSETS or has_figures(row)
    return in_dollars(row, amount) if is_sure else None


def _leverage(row: PositionRow) -> float | None:
    if not has_figures(row):
        return None
    is_broke = row.equity is not None and row.equity <= 0
    return inf if is_broke else row.effective_leverage


def _distance_percent(row: PositionRow) -> float | None:
    if not has_figures(row):
        return None
    if row.distance_ratio is not None:
        return row.distance_ratio * 100
    if row.state == "liquidatable":
        return 0.0
    # What can never be liquidated is as far from it as can be; any other lack of a price is one of knowledge.
    return inf if row.is_never_liquidated else None


def _loss_dollars(row: PositionRow) -> float | None:
    if row.auto_margin or not has_figures(row):
        return None
    return _dollars(row, row.max_loss)


def margin_dollars(row: PositionRow) -> float | None:
    return _dollars(row, row.isolated_wallet)


def _shown(value: float | None, unit: str) -> Decimal | None:
    return None if value is None or not isfinite(value) else Decimal(value).quantize(STEPS[unit])


def _named(row: PositionRow, several: bool) -> str:
    return f"{row.title} in {row.portfolio_name}" if several else row.title


def _say(value: float, term: Term, is_broken: bool, limit: Decimal) -> str:
    shown = _shown(value, term.unit)
    if shown is None:
        figure = "no equity left" if term.unit == "×" else "no liquidation at any price"
    else:
        figure = written(shown, term.unit)
    beyond = "below" if term.bound == "at least" else "above"
    return f"{figure}, {beyond if is_broken else f'within {term.bound}'} {written(limit, term.unit)}"


def _breaks(value: float, term: Term, limit: Decimal) -> bool:
    return value < float(limit) if term.bound == "at least" else value > float(limit)


@dataclass(frozen=True, slots=True)
class _Book:
    rows: Sequence[PositionRow]
    are_all: bool
    total: float | None

    def share_percent(self, row: PositionRow) -> float | None:
        margin = margin_dollars(row)
        if margin is None or self.total is None:
            return None
        return 100 * margin / self.total if self.total > 0 else 0.0


def _check_each(held: TermRow, limit: Decimal, book: _Book, figure: Figure) -> LimitCheck:
    """The position that goes furthest decides; one that nobody knows could go further still."""
    term = held.kind
    furthest = min if term.bound == "at least" else max
    values = [(value, row) for row in book.rows if (value := figure(row)) is not None]
    without = len(book.rows) - len(values)
    worst = furthest(values, key=lambda pair: pair[0]) if values else None
    is_broken = worst is not None and _breaks(worst[0], term, limit)
    if worst is not None and (is_broken or (without == 0 and book.are_all)):
        # A share of all that the client holds is of no portfolio.
        named = _named(worst[1], len(book.rows) > 1 and held.term != "max_position_share")
        sentence = f"{named}: {_say(worst[0], term, is_broken, limit)}"
        return LimitCheck(
            term=held,
            limit=limit,
            value=_shown(worst[0], term.unit),
            position=worst[1],
            is_broken=is_broken,
            sentence=sentence,
        )
    return _not_decided(held, limit, book, [row for row in book.rows if figure(row) is None])


def _not_decided(held: TermRow, limit: Decimal, book: _Book, without: list[PositionRow]) -> LimitCheck:
    """Nothing held keeps every limit; anything held without a figure leaves it open."""
    if not book.rows and book.are_all:
        return LimitCheck(
            term=held, limit=limit, value=None, position=None, is_broken=False, sentence="nothing is held"
        )
    named, sentence = _why_without(held, without) if without else ([], NOT_ALL)
    position = next(iter(named), None)
    return LimitCheck(
        term=held, limit=limit, value=None, position=position, is_broken=None, sentence=sentence
    )


def _why_without(held: TermRow, without: list[PositionRow]) -> tuple[list[PositionRow], str]:
    """The rows that are in the way and why: what no mark of ours can mend is said first."""
    open_ended = [row for row in without if row.auto_margin and held.term == "max_loss_per_position"]
    if open_ended:
        title = open_ended[0].title
        return open_ended, (
            f"{title} is not isolated: it may draw the account's free balance, so its loss has no bound"
        )
    unpriced = [row for row in without if held.term in IN_DOLLARS and not has_dollar_price(row)]
    named = unpriced or without
    count = f"{len(named)} position{'' if len(named) == 1 else 's'}"
    why = "whose collateral has no dollar price" if unpriced else "without a figure that can be trusted"
    return named, f"{count} {why}"


def _check_total(held: TermRow, limit: Decimal, book: _Book) -> LimitCheck:
    """What is known to be set aside may already be too much, whatever the rest is."""
    margins = [(margin_dollars(row), row) for row in book.rows]
    known = sum(max(0.0, margin) for margin, _ in margins if margin is not None)
    without = [row for margin, row in margins if margin is None]
    is_broken = _breaks(known, held.kind, limit)
    if (without or not book.are_all) and not is_broken:
        return _not_decided(held, limit, book, without)
    return LimitCheck(
        term=held,
        limit=limit,
        value=_shown(known, held.kind.unit),
        position=None,
        is_broken=is_broken,
        sentence=f"all positions together: {_say(known, held.kind, is_broken, limit)}",
    )


def _book(rows: Sequence[PositionRow], are_all: bool) -> _Book:
    margins = [margin_dollars(row) for row in rows]
    known = [max(0.0, margin) for margin in margins if margin is not None]
    return _Book(
        rows=rows, are_all=are_all, total=sum(known) if are_all and len(known) == len(rows) else None
    )


def limit_of(terms: Sequence[TermRow], term: str) -> Decimal | None:
    """The number that is agreed for a term; None where none is."""
    return next((held.limit for held in terms if held.term == term), None)


def check_limits(
    client_id: UUID, rows: Sequence[PositionRow], terms: Sequence[TermRow], *, are_all: bool = True
) -> list[LimitCheck]:
    """Each limit in force against the client's open positions; are_all=False where rows were cut."""
    book = _book([row for row in rows if row.client_id == client_id and row.state != "closed"], are_all)
    figures: dict[str, Figure] = {
        "max_effective_leverage": _leverage,
        "max_position_share": book.share_percent,
        "max_loss_per_position": _loss_dollars,
        "min_distance": _distance_percent,
    }
    checks = []
    for held in terms:
        if held.limit is None:
            continue
        if held.term == "max_isolated_margin":
            checks.append(_check_total(held, held.limit, book))
        else:
            checks.append(_check_each(held, held.limit, book, figures[held.term]))
    return sorted(checks, key=lambda check: (BROKEN, UNKNOWN, KEPT).index(check.verdict))
