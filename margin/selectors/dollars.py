"""What an amount is in dollars, where that is known: dollar-like money at one, a coin at its own mark in dollars."""

from decimal import Decimal

from margin.selectors.rows import STABLE_ASSETS, PositionRow

_DOLLARS = ", ".join(f"'{asset}'" for asset in sorted(STABLE_ASSETS))
# NULL where no mark of ours prices the collateral, as with a contract on ether that settles in bitcoin.
IN_DOLLARS = f"""(
    CASE WHEN i.settle_asset IN ({_DOLLARS}) THEN 1
         WHEN i.settle_asset = i.base_asset AND i.quote_asset IN ({_DOLLARS}) THEN r.mark_price END
)"""


def has_dollar_price(row: PositionRow) -> bool:
    """Whether there could be a price; that of a coin may still be missing or old."""
    return row.settle_asset in STABLE_ASSETS or (
        row.settle_asset == row.base_asset and row.quote_asset in STABLE_ASSETS
    )


def in_dollars(row: PositionRow, amount: Decimal | None) -> float | None:
    """None where the amount or the price is not known: never one, never zero."""
    if amount is None or not has_dollar_price(row):
        return None
    if row.settle_asset in STABLE_ASSETS:
        return float(amount)
    return None if row.mark_price is None else float(amount) * float(row.mark_price)
