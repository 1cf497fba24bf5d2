"""Where each open position in force dies, and with how much: what the pictures of a whole book are drawn from."""

from dataclasses import dataclass
from datetime import datetime

from margin.selectors.dollars import IN_DOLLARS
from margin.selectors.overview import RANK_WORDS, WHOLE_BOOK, get_last_run
from margin.selectors.positions import DISTANCE, RANK
from margin.selectors.tables import tables_as_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One position: the move of its mark that liquidates it, and the margin it would take along."""

    client_name: str
    base_asset: str
    side: str
    state: str
    distance_ratio: float | None
    distance_sigmas: float | None
    margin_dollars: float
    value_dollars: float

    @property
    def fatal_move_ratio(self) -> float | None:
        """Change of the mark at which it is liquidated: downwards for a long, upwards for a short."""
        if self.distance_ratio is None:
            return None
        return -self.distance_ratio if self.side == "long" else self.distance_ratio


@dataclass(frozen=True, slots=True)
class BookStanding:
    """Every open position with figures in dollars; those without are counted, for no picture shows them."""

    standings: list[Standing]
    without_figures: int
    without_dollars: int
    version: str


STANDINGS = f"""
SELECT coalesce(r.state < 5, false) AS has_figures, c.name AS client_name, i.base_asset,
    p.side, {RANK} AS rank, r.distance_ratio, r.distance_sigmas,
    r.max_loss * {IN_DOLLARS} AS margin_dollars, r.value * {IN_DOLLARS} AS value_dollars
FROM {WHOLE_BOOK} JOIN {{clients}} c ON c.firm_id = p.firm_id AND c.id = p.client_id WHERE p.closed_at IS NULL
ORDER BY rank, {DISTANCE}, p.id
"""


def get_book_standing(*, as_of: datetime | None = None) -> BookStanding:
    # Asked first: a run that ends in between is told of by the next answer, and not by this one.
    version = get_last_run(as_of=as_of).run_id
    rows = tables_as_of(as_of).fetch(STANDINGS)
    # A loss that is known of a position whose outcome is not would pass for one that survives every move.
    known = [row for row in rows if row.pop("has_figures")]
    priced = [row for row in known if None not in (row["margin_dollars"], row["value_dollars"])]
    return BookStanding(
        standings=[Standing(state=RANK_WORDS[row.pop("rank")], **row) for row in priced],
        without_figures=len(rows) - len(known),
        without_dollars=len(known) - len(priced),
        version=version,
    )
