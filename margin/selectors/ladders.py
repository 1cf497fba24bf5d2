"""The margin tiers of one instrument as they are in force."""

from margin.engine.tiers import Ladder, TierRow, ladder_of
from margin.selectors.positions import fetch_rows

IN_FORCE = """
SELECT t.tier, t.floor, t.cap, t.maintenance_rate AS rate, t.maintenance_amount AS amount, t.max_leverage,
    t.source, t.effective_from, t.label, t.symbol
FROM margin_tier t JOIN portfolios_instrument i ON i.tier_label = t.label AND i.tier_symbol = t.symbol
WHERE i.venue = %(venue)s AND i.symbol = %(symbol)s AND t.effective_from = (
    SELECT max(n.effective_from) FROM margin_tier n
    WHERE n.label = t.label AND n.symbol = t.symbol AND n.effective_from <= current_date)
ORDER BY t.tier
"""


def ladder_of_instrument(venue: str, symbol: str) -> Ladder | None:
    """The ladder that applies today, or none where no table is known."""
    found = fetch_rows(IN_FORCE, {"venue": venue, "symbol": symbol})
    if not found:
        return None
    names = ("tier", "floor", "cap", "rate", "amount", "max_leverage", "source")
    rows = [TierRow(**{name: row[name] for name in names}) for row in found]
    return ladder_of(found[0]["label"], found[0]["symbol"], rows)
