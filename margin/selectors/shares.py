"""How the isolated margin of some positions is spread: by position, coin and venue. Pure: rows in, shares out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum

from margin.selectors.limits import margin_dollars
from margin.selectors.rows import PositionRow


@dataclass(frozen=True, slots=True)
class Share:
    """One position's part of the margin that is known; a wallet below zero holds none."""

    row: PositionRow
    dollars: float
    ratio: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """What positions of one coin, or at one venue, hold together."""

    name: str
    positions: int
    ratio: float


@dataclass(frozen=True, slots=True)
class Shares:
    """Largest first. Shares are of what is known: with anything left out the true ones are no larger."""

    parts: tuple[Share, ...]
    without: tuple[PositionRow, ...]
    total_dollars: float | None
    by_coin: tuple[Group, ...]
    by_venue: tuple[Group, ...]

    @property
    def largest(self) -> Share | None:
        return self.parts[0] if self.parts and self.parts[0].ratio is not None else None

    @property
    def effective_number(self) -> float | None:
        """1 ÷ Σ share²: how many positions of one size would be spread as these are (inverse Herfindahl)."""
        squares = fsum(part.ratio**2 for part in self.parts if part.ratio is not None)
        return 1 / squares if squares else None

    @property
    def of_positions(self) -> dict[int, float]:
        return {part.row.id: part.ratio for part in self.parts if part.ratio is not None}


def share_margin(rows: Sequence[PositionRow]) -> Shares:
    """Of open rows, in dollars; whose margin has no dollar value anybody can trust is in no share and named."""
    known = [(max(0.0, dollars), row) for row in rows if (dollars := margin_dollars(row)) is not None]
    total = fsum(dollars for dollars, _ in known)
    parts = [Share(row, dollars, dollars / total if total > 0 else None) for dollars, row in known]
    parts.sort(key=lambda part: (-part.dollars, part.row.id))
    return Shares(
        parts=tuple(parts),
        without=tuple(row for row in rows if margin_dollars(row) is None),
        total_dollars=total if known else None,
        by_coin=_grouped(parts, lambda row: row.base_asset),
        by_venue=_grouped(parts, lambda row: row.venue_name),
    )


def _grouped(parts: Sequence[Share], name_of: Callable[[PositionRow], str]) -> tuple[Group, ...]:
    ratios: dict[str, list[float]] = {}
    for part in parts:
        if part.ratio is not None:
            ratios.setdefault(name_of(part.row), []).append(part.ratio)
    groups = [Group(name, len(found), fsum(found)) for name, found in ratios.items()]
    return tuple(sorted(groups, key=lambda group: (-group.ratio, group.name)))
