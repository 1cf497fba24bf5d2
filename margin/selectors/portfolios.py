"""Portfolios a page at a time, for the API."""

from uuid import UUID

from portfolios.models import Portfolio
from portfolios.selectors import PortfolioRow


def list_portfolios_after(
    public_id: UUID | None, *, client_id: UUID | None, limit: int
) -> list[PortfolioRow]:
    """Portfolios in force in the order of their public ids, from behind the one given."""
    found = (
        Portfolio.objects.all()
        if client_id is None
        else Portfolio.objects.filter(client__public_id=client_id)
    )
    if public_id is not None:
        found = found.filter(public_id__gt=public_id)
    rows = found.order_by("public_id").values_list("public_id", "name", "client__public_id", "client__name")
    return [PortfolioRow(*row) for row in rows[:limit]]
