"""If a position is liquidated: what its venue closes first, what remains, and what nobody outside the venue knows."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from math import isnan

from margin.engine.partial import Ladder, Step, least_share, partial_ladder
from margin.engine.partial_rules import Fill, Method, PartialRule, partial_rule_for
from margin.engine.reasons import describe_reason
from margin.engine.rules import Basis, displayed_liquidation_price
from margin.selectors.ladders import day_of
from margin.selectors.rows import PositionRow, money, price, trim
from margin.selectors.single import Single, pack_single

# The first steps and the last are read; dozens between them are counted.
SHOWN_STEPS = 6
# How far beyond liquidation a mark may be by the time the venue's order fills.
BEYOND = (Decimal("0.001"), Decimal("0.0025"), Decimal("0.005"))
SIGNIFICANT = 6
NO_RULE = "No document on how this venue liquidates an isolated position is known."


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One step of the ladder; None is what the venue's rule does not say."""

    number: int
    begins_at: Decimal
    distance_ratio: float | None
    at_once: bool
    filled_at: Decimal | None
    closed: Decimal | None
    closed_ratio: float | None
    remaining: Decimal | None
    remaining_ratio: float | None
    fee_rate: float | None
    fee: Decimal | None
    margin: Decimal | None
    equity: Decimal | None
    maintenance: Decimal | None
    next_price: Decimal | None
    next_words: str
    pro_rata_price: Decimal | None
    tier_before: int
    tier_after: int | None
    is_whole: bool
    at_bankruptcy: bool
    by_backstop: bool


@dataclass(frozen=True, slots=True)
class LeastRow:
    """Least share to be closed where the mark has passed liquidation by so much."""

    beyond_ratio: Decimal
    price: Decimal
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialView:
    """The venue's rule with its document, and its steps for this position."""

    words: str
    steps: tuple[StepRow, ...]
    last: StepRow | None
    hidden: int
    is_known: bool
    is_cut: bool
    is_beyond: bool
    debt: Decimal | None
    keeps_margin: bool
    why: str
    least: tuple[LeastRow, ...]
    backstop_price: Decimal | None
    fill_words: str
    fee_words: str
    assumptions: tuple[str, ...]
    unknowns: tuple[str, ...]
    standing: str
    dated: str
    since: date | None
    source: str
    tiers_since: date | None


def get_partial_ladder(row: PositionRow, *, as_of: datetime | None = None) -> PartialView | None:
    """None once it is closed; without a rule or tiers the view says what is missing."""
    if row.closed_at is not None:
        return None
    single = pack_single(row, as_of=as_of)
    if single is None:
        return _nothing(row.liquidation_reason or row.reason or NO_RULE)
    rule = partial_rule_for(single.rule.venue, single.rule.kind, day_of(single.at))
    if rule is None:
        return _nothing(NO_RULE)
    ladder = partial_ladder(single.positions, single.tiers, single.rules, rule)
    return _view(row, single, rule, ladder)


def _nothing(why: str) -> PartialView:
    return PartialView(
        words="", steps=(), last=None, hidden=0, is_known=False, is_cut=False, is_beyond=False,
        debt=None, keeps_margin=False, why=why, least=(),
        backstop_price=None, fill_words="", fee_words="", assumptions=(), unknowns=(), standing="", dated="",
        since=None, source="", tiers_since=None,
    )  # fmt: skip


def _view(row: PositionRow, single: Single, rule: PartialRule, ladder: Ladder) -> PartialView:
    steps = _rows(row, single, ladder)
    is_long = len(steps) > SHOWN_STEPS + 1
    return PartialView(
        words=rule.words,
        steps=steps[:SHOWN_STEPS] if is_long else steps,
        last=steps[-1] if is_long else None,
        hidden=len(steps) - SHOWN_STEPS - 1 if is_long else 0,
        is_known=ladder.is_known,
        is_cut=ladder.is_cut,
        is_beyond=ladder.is_beyond,
        debt=money(ladder.debt, row.settle_asset) if ladder.debt else None,
        keeps_margin=rule.remainder_stays,
        why="" if steps else describe_reason(ladder.ends),
        least=_least(row, single, rule, ladder),
        backstop_price=_backstop(row, ladder),
        fill_words=rule.fill_words,
        fee_words=rule.fee_words,
        assumptions=_assumptions(rule, ladder),
        unknowns=rule.unknowns,
        standing=rule.standing.value,
        dated=rule.dated,
        since=rule.effective_from,
        source=rule.source,
        tiers_since=single.tiers_since,
    )


def _backstop(row: PositionRow, ladder: Ladder) -> Decimal | None:
    """Only while it is still to come."""
    if any(step.by_backstop for step in ladder.steps):
        return None
    return price(ladder.backstop_price, row.tick_size)


def _assumptions(rule: PartialRule, ladder: Ladder) -> tuple[str, ...]:
    """What the numbers rest on beside the venue's words."""
    if not ladder.steps or not ladder.is_known:
        return ()
    parts = any(not step.is_whole for step in ladder.steps)
    said = _fill_words(rule, parts)
    if parts and rule.part_fill is Fill.MARK:
        said.append(
            "The rest of the margin stays with what remains. If the closed part took its share along, what remains "
            "would be liquidated at the price marked “at worst”."
        )
    if ladder.is_open:
        said += _open_words(rule)
    if any(step.before_fee for step in ladder.steps):
        said.append("The fee is not known and left out: less remains, and the next price is nearer.")
    if rule.method is Method.FRACTION and parts:
        said.append("The second fall comes within 30 seconds of the first step.")
    return tuple(said)


def _open_words(rule: PartialRule) -> list[str]:
    """Of a part whose price no document gives."""
    said = [
        "The price of a part is not documented: what it leaves of the margin, and what follows, is not computed."
    ]
    return [*said, "Which lower tier suffices is judged at the mark."] if rule.picks_tier else said


def _fill_words(rule: PartialRule, parts: bool) -> list[str]:
    fills = {rule.part_fill if parts else rule.whole_fill, rule.whole_fill}
    said = {
        Fill.MARK: "Each step is filled at the mark at which it begins, without slippage.",
        Fill.BANKRUPTCY: "What is taken over loses exactly its share of the margin.",
    }
    return [words for fill, words in said.items() if fill in fills]


def _rows(row: PositionRow, single: Single, ladder: Ladder) -> tuple[StepRow, ...]:
    rows: list[StepRow] = []
    held = row.quantity
    for number, step in enumerate(ladder.steps, start=1):
        left = None if isnan(step.remaining) else _size(row.quantity, step.remaining)
        at_once = number > 1 and step.begins_at == ladder.steps[number - 2].begins_at
        rows.append(_row(row, single, step, number=number, held=held, left=left, at_once=at_once))
        held = left if left is not None else held
    return tuple(rows)


def _row(
    row: PositionRow,
    single: Single,
    step: Step,
    *,
    number: int,
    held: Decimal,
    left: Decimal | None,
    at_once: bool,
) -> StepRow:
    begins_at = _shown(row, single, step.begins_at)
    if row.mark_price is not None and step.begins_at == float(row.mark_price):
        begins_at = row.mark_price
    return StepRow(
        number=number,
        begins_at=begins_at,
        distance_ratio=_distance(row, single.side, begins_at),
        at_once=at_once,
        filled_at=price(step.filled_at, row.tick_size),
        closed=None if left is None else held - left,
        closed_ratio=_known(step.closed),
        remaining=left,
        remaining_ratio=_known(step.remaining),
        fee_rate=_known(step.fee_rate),
        fee=money(step.fee, row.settle_asset),
        margin=money(step.wallet, row.settle_asset),
        equity=money(step.equity, row.settle_asset),
        maintenance=money(step.maintenance, row.settle_asset),
        next_price=None if isnan(step.liquidation_price) else _shown(row, single, step.liquidation_price),
        next_words=describe_reason(step.liquidation_reason),
        pro_rata_price=price(step.pro_rata_price, row.tick_size),
        tier_before=step.tier + 1,
        tier_after=None if step.tier_after < 0 else step.tier_after + 1,
        is_whole=step.is_whole,
        at_bankruptcy=not isnan(step.filled_at) and step.filled_at != step.begins_at,
        by_backstop=step.by_backstop,
    )


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _shown(row: PositionRow, single: Single, value: float) -> Decimal:
    """As the venue shows a liquidation price: the first step begins at the price the page explains."""
    return trim(displayed_liquidation_price(single.rule, value, single.side, row.tick_size)) or Decimal(0)


def _size(quantity: Decimal, share: float) -> Decimal:
    """A share of the contracts to six significant digits, and never fewer than whole ones."""
    if share in {0.0, 1.0}:
        return quantity * int(share)
    exact = quantity * Decimal(share)
    decimals = max(0, SIGNIFICANT - 1 - exact.adjusted())
    return trim(exact.quantize(Decimal(1).scaleb(-decimals))) or Decimal(0)


def _distance(row: PositionRow, side: int, at: Decimal) -> float | None:
    """Towards loss; of a price the mark has passed there is none left to go."""
    if row.mark_price is None:
        return None
    return max(0.0, float(side * (row.mark_price - at) / row.mark_price))


def _least(row: PositionRow, single: Single, rule: PartialRule, ladder: Ladder) -> tuple[LeastRow, ...]:
    """What must be closed at the least where an order is to restore compliance but its size is not published."""
    continuous = single.ladder.deduction and not single.ladder.in_contracts
    at_mark = single.rule.maintenance_basis is Basis.MARK
    if rule.method is not Method.TO_COMPLIANCE or not ladder.steps or not continuous or not at_mark:
        return ()
    begins_at = ladder.steps[0].begins_at
    found = []
    for beyond in (Decimal(0), *BEYOND) if ladder.is_beyond else BEYOND:
        at = begins_at * (1 - single.side * float(beyond))
        share = least_share(single.positions, single.tiers, single.rules, at)
        found.append(LeastRow(beyond, price(at, row.tick_size) or Decimal(0), share))
    return tuple(found)
