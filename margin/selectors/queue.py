"""The queue of the home page: what needs watching, worst first, with all that a line of it says."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from django.utils import timezone

from margin.engine.states import Thresholds
from margin.selectors.dollars import IN_DOLLARS, in_dollars
from margin.selectors.positions import PositionFilter, list_positions
from margin.selectors.rows import PositionRow
from margin.selectors.sparks import Spark, sparks_of
from margin.selectors.state_log import StateMoves, moves_since, states_since
from margin.selectors.tables import tables_as_of
from margin.selectors.top_up import top_ups
from portfolios.selectors.since import RecordedKind, recorded_since

SHOWN_MOVES = 3
# All but OK.
NEED_RANKS = (0, 1, 2, 3, 4)
CLIENT_MARGINS = f"""
SELECT client_id, sum(loss)::float8 AS dollars, bool_and(loss IS NOT NULL) AS is_whole FROM (
    SELECT c.public_id AS client_id, CASE WHEN r.state < 5 THEN r.max_loss * {IN_DOLLARS} END AS loss
    FROM {{positions}} WHERE p.closed_at IS NULL AND c.public_id = ANY(%(clients)s)
) held GROUP BY client_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """A position that needs watching; for how long, how it came there, how much of the client, and the way back."""

    row: PositionRow
    # None where nobody logged when it came into its state.
    state_seconds: float | None
    is_new: bool
    spark: Spark | None
    of_client_ratio: float | None
    top_up: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Worst first."""

    rows: list[QueueRow]
    has_more: bool
    # Up to where the way back leads, in daily σ.
    target_sigmas: float

    @property
    def spark_words(self) -> str:
        """How far back the sparklines go."""
        return next((line.spark.window_words for line in self.rows if line.spark), "")


@dataclass(frozen=True, slots=True)
class News:
    """What is new since a moment: states that changed, and what was recorded."""

    since_at: datetime
    moves: StateMoves
    recorded: list[RecordedKind]

    @property
    def is_of_today(self) -> bool:
        return self.since_at.astimezone(UTC).date() == timezone.now().date()

    @property
    def since_words(self) -> str:
        """The time of day in UTC, with its day where that is another."""
        return f"{self.since_at.astimezone(UTC):{'%H:%M' if self.is_of_today else '%-d %b, %H:%M'}}"

    @property
    def more_moves(self) -> int:
        """Positions that moved otherwise than the page has lines for."""
        return sum(count for _, _, count in self.moves.moves[SHOWN_MOVES:])

    @property
    def opened(self) -> int:
        """Positions that came into the log since."""
        return sum(count for _, count in self.moves.opened)

    @property
    def opened_words(self) -> str:
        """Those of them that need somebody, the worst first."""
        return ", ".join(f"{count} {state}" for state, count in self.moves.opened if state != "ok")

    @property
    def has_any(self) -> bool:
        return bool(self.moves.moves or self.moves.opened or self.recorded)


def read_news(since_at: datetime, *, as_of: datetime | None = None) -> News:
    return News(since_at, moves_since(since_at, as_of=as_of), recorded_since(since_at, as_of=as_of))


def list_queue(levels: Thresholds, *, limit: int, since_at: datetime, as_of: datetime | None = None) -> Queue:
    """The first of them; new is what came into its state after since_at."""
    found = list_positions(PositionFilter(state_ranks=NEED_RANKS), limit=limit, as_of=as_of)
    return Queue(
        rows=_lines(found.rows, levels.watch_sigmas, since_at, as_of),
        has_more=bool(found.next_cursor),
        target_sigmas=levels.watch_sigmas,
    )


def _lines(
    rows: Sequence[PositionRow], sigmas: float, since_at: datetime, as_of: datetime | None
) -> list[QueueRow]:
    # What is stale is in no state that began; of a past moment the log tells the newest state, not that of then.
    since = states_since([row.id for row in rows if row.state != "stale"]) if as_of is None else {}
    sparks = sparks_of(rows, as_of=as_of)
    margins = _client_margins({row.client_id for row in rows}, as_of)
    lacking = top_ups(rows, sigmas, as_of=as_of)
    now = timezone.now()
    return [
        QueueRow(
            row=row,
            state_seconds=None if row.id not in since else (now - since[row.id]).total_seconds(),
            is_new=row.id in since and since[row.id] > since_at,
            spark=sparks.get(row.id),
            of_client_ratio=_share(row, margins),
            top_up=lacking.get(row.id),
        )
        for row in rows
    ]


def _client_margins(clients: Collection[UUID], as_of: datetime | None) -> dict[UUID, float]:
    """Margin in dollars of each client; missing where a part of it is not known."""
    rows = tables_as_of(as_of).fetch(CLIENT_MARGINS, {"clients": list(clients)})
    return {row["client_id"]: row["dollars"] for row in rows if row["is_whole"] and row["dollars"]}


def _share(row: PositionRow, margins: dict[UUID, float]) -> float | None:
    loss, whole = in_dollars(row, row.max_loss), margins.get(row.client_id)
    return None if loss is None or whole is None or row.state == "unknown" else loss / whole
