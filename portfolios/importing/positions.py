"""A line of a file of positions, and the wallet it speaks of."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal, localcontext
from uuid import UUID

from portfolios.importing.cells import LIMIT, CellError, name_key

# A clock a little ahead of ours is no lie about the future.
CLOCK_SLACK = timedelta(seconds=5)
# Wide enough that only the division of an inverse contract is ever rounded before the last step.
EXACT = Context(prec=130)
STEP = Decimal("1e-18")


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionLine:
    """One line of the file, every value checked. client may be empty where position_id says which position it is."""

    line: int
    client: str = ""
    portfolio: str
    account: str
    venue: str
    symbol: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    external_id: str
    isolated_wallet: Decimal | None = None
    isolated_margin_incl_upnl: Decimal | None = None
    mark_price: Decimal | None = None
    leverage: Decimal | None = None
    stop_price: Decimal | None = None
    opened_at: datetime | None = None
    note: str | None = None
    position_id: UUID | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes two lines the same position: our id, or the client's account at a venue and the id in it."""
        if self.position_id is not None:
            return str(self.position_id), "", "", ""
        return self.client, self.venue, name_key(self.account), self.external_id

    def wallet(self, *, kind: str, contract_size: Decimal) -> Decimal:
        """The isolated wallet, without unrealised P&L; raises CellError where nothing is left of it."""
        if self.isolated_wallet is not None:
            return self.isolated_wallet
        if self.isolated_margin_incl_upnl is None or self.mark_price is None:
            raise CellError("Is missing.")
        sign = 1 if self.side == "long" else -1
        with localcontext(EXACT):
            if kind == "inverse":
                price_move = 1 / self.entry_price - 1 / self.mark_price
            else:
                price_move = self.mark_price - self.entry_price
            upnl = sign * self.quantity * contract_size * price_move
            wallet = (self.isolated_margin_incl_upnl - upnl).quantize(STEP)
        if not 0 < wallet < LIMIT:
            raise CellError(f"Without the unrealised P&L of {upnl:.8f} the wallet would be {wallet:.8f}.")
        return wallet
