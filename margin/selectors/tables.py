"""What the statements about positions read: the tables as they are, or positions and risk as of a past moment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection

from margin.engine.types import Figures
from margin.selectors.market import age_limit_seconds
from margin.selectors.past import Held, PastBook, read_past_book

# p position, r its risk, c client, f portfolio, a account, i instrument, now.at the moment. What was computed before
# now.levels_at was graded by levels that hold no longer; what is computed of a past moment is graded by those of then.
# Every position is there whatever became of its risk: a missing row is "not computed yet", never a shorter list.
RISKS_NOW = """
    portfolios_position p
    CROSS JOIN (SELECT now() AS at, (SELECT max(recorded_at) FROM margin_risklevels) AS levels_at) now
    LEFT JOIN (SELECT *, false AS snapped FROM margin_riskstate) r ON r.firm_id = p.firm_id AND r.id = p.id
"""
POSITIONS_NOW = f"""
    {RISKS_NOW}
    JOIN portfolios_instrument i ON i.id = p.instrument_id
    JOIN advisors_client c ON c.firm_id = p.firm_id AND c.id = p.client_id
    JOIN portfolios_portfolio f ON f.firm_id = p.firm_id AND f.id = p.portfolio_id
    JOIN portfolios_venueaccount a ON a.firm_id = p.firm_id AND a.id = p.account_id
"""
# The value until the first change after the moment.
FORMER = """(
    SELECT v.value FROM advisors_formervalue v WHERE v.firm_id = {row}.firm_id AND v.subject = '{subject}'
        AND v.subject_key = {row}.id AND v.field = '{field}' AND v.until_at > %(as_of)s ORDER BY v.until_at LIMIT 1
)"""


def _former(row: str, subject: str, field: str, kind: str = "text") -> str:
    former = FORMER.format(row=row, subject=subject, field=field)
    return f"coalesce({former}::{kind}, {row}.{field}) AS {field}"


CLIENTS_THEN = f"""(
    SELECT k.firm_id, k.id, k.public_id, {_former("k", "client", "name")}, {_former("k", "client", "reference")}
    FROM advisors_client k WHERE k.created_at <= %(as_of)s
)"""
# Row-level security makes the planner expect one row of each table, and it would look ten thousand positions up one by
# one, in five tables each. For the whole book: joins in the order written, by hash; for one position: by its keys.
PLAN_BOOK = "SELECT set_config('join_collapse_limit', '1', true), set_config('enable_nestloop', 'off', true)"
PLAN_ONE = "SELECT set_config('join_collapse_limit', '1', true)"
PLAN_AS_EVER = (
    "SELECT set_config('join_collapse_limit', '8', true), set_config('enable_nestloop', 'on', true)"
)
# What of a fold the statements read, as they name it, with its type.
FOLDED = {
    "quantity": "numeric",
    "entry_price": "numeric",
    "isolated_wallet": "numeric",
    "leverage": "numeric",
    "stop_price": "numeric",
    "opened_at": "timestamptz",
    "closed_at": "timestamptz",
    "closed_by": "text",
    "version": "int",
}
MARKED: dict[str, tuple[str, Callable[[Held], Any]]] = {
    "mark_price": ("float8", lambda held: held.mark and held.mark.price_for(held.side)),
    "mark_sequence": ("bigint", lambda held: held.mark and held.mark.sequence),
    "priced_at": ("timestamptz", lambda held: held.mark and held.mark.source_at),
    "mark_age_limit_seconds": (
        "smallint",
        lambda held: age_limit_seconds(held.mark.source if held.mark else ""),
    ),
    "snapped": ("boolean", lambda held: held.mark is not None and held.mark.is_candle),
}
CODES = ("state", "reason", "liquidation_reason")
FIGURES = tuple(column.name for column in fields(Figures) if column.name not in {*CODES, "tier"})
RISK = {
    **{name: kind for name, (kind, _) in MARKED.items()},
    "daily_volatility": "float8",
    **dict.fromkeys(CODES, "smallint"),
    **dict.fromkeys(FIGURES, "float8"),
}
COLUMNS = {"id": "bigint", **FOLDED, **RISK}
# Row-level security makes the planner expect one row of a table and multiply whole tables with each other. OFFSET 0
# leaves it no choice but to look each row up by its key.
RISKS_THEN = f"""
    unnest({", ".join(f"%(past_{name})s::{kind}[]" for name, kind in COLUMNS.items())})
        AS n ({", ".join(COLUMNS)})
    CROSS JOIN LATERAL (SELECT * FROM portfolios_position WHERE id = n.id OFFSET 0) q
    CROSS JOIN LATERAL (SELECT q.firm_id, q.id, q.public_id, q.client_id, q.portfolio_id, q.account_id, q.instrument_id,
        q.external_id, q.side, {", ".join(f"n.{name}" for name in FOLDED)}) p
    CROSS JOIN LATERAL (SELECT n.version AS position_version, %(as_of)s::timestamptz AS computed_at,
        {", ".join(f"n.{name}" for name in RISK)}) r
    CROSS JOIN (SELECT %(as_of)s::timestamptz AS at, NULL::timestamptz AS levels_at) now
"""
POSITIONS_THEN = f"""
    {RISKS_THEN}
    JOIN portfolios_instrument i ON i.id = p.instrument_id
    CROSS JOIN LATERAL (SELECT * FROM {CLIENTS_THEN} k WHERE k.id = p.client_id OFFSET 0) c
    CROSS JOIN LATERAL (SELECT k.public_id, {_former("k", "portfolio", "name")}
        FROM portfolios_portfolio k WHERE k.id = p.portfolio_id OFFSET 0) f
    CROSS JOIN LATERAL (SELECT {_former("k", "account", "label")}, {_former("k", "account", "auto_margin", "boolean")}
        FROM portfolios_venueaccount k WHERE k.id = p.account_id OFFSET 0) a
"""


@dataclass(frozen=True, slots=True)
class Tables:
    """What stands behind FROM: {risks} of positions, {positions} with all that belongs to them, {clients}."""

    sources: dict[str, str]
    parameters: dict[str, Any]
    # The statements that read them; what stands for the tables as of a moment says itself how its rows are found.
    plans: tuple[str, str] | None = None

    def fetch(self, statement: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of a statement over many positions, which names its sources in braces."""
        return self._fetch(0, statement, parameters)

    def fetch_by_key(self, statement: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of a statement that finds a few positions by their keys."""
        return self._fetch(1, statement, parameters)

    def _fetch(self, plan: int, statement: str, parameters: dict[str, Any] | None) -> list[dict[str, Any]]:
        for name, source in self.sources.items():
            statement = statement.replace(f"{{{name}}}", source)
        values = {**self.parameters, **(parameters or {})}
        if self.plans is None:
            return fetch_rows(statement, values)
        fetch_rows(self.plans[plan], {})
        rows = fetch_rows(statement, values)
        # After an error the transaction is over, and the settings with it.
        fetch_rows(PLAN_AS_EVER, {})
        return rows


PRESENT = {"risks": RISKS_NOW, "positions": POSITIONS_NOW, "clients": "advisors_client"}
NOW = Tables(PRESENT, {"as_of": None}, (PLAN_BOOK, PLAN_ONE))
# Of one client or portfolio: a few hundred positions at most, found by an index and looked up by their keys.
FEW = {
    "client_id": "client_id = (SELECT id FROM advisors_client WHERE public_id = %(of_client)s)",
    "portfolio_id": "portfolio_id = (SELECT id FROM portfolios_portfolio WHERE public_id = %(of_portfolio)s)",
}
THEN = {"risks": RISKS_THEN, "positions": POSITIONS_THEN, "clients": CLIENTS_THEN}


def tables_as_of(as_of: datetime | None, **scope: Any) -> Tables:
    """The tables now, or what stands for them as of a moment: in the scope as read_past_book takes it."""
    if as_of is None:
        return _of_few(scope) if any(scope.get(name) for name in FEW) else NOW
    return Tables(THEN, _parameters(read_past_book(as_of, **scope)))


def _of_few(scope: dict[str, Any]) -> Tables:
    rule = " AND ".join(rule for name, rule in FEW.items() if scope.get(name))
    few = f"(SELECT * FROM portfolios_position WHERE {rule}) p"
    return Tables(
        {name: source.replace("portfolios_position p", few) for name, source in PRESENT.items()},
        {"as_of": None, "of_client": scope.get("client_id"), "of_portfolio": scope.get("portfolio_id")},
        (PLAN_ONE, PLAN_ONE),
    )


def _parameters(book: PastBook) -> dict[str, Any]:
    figures = book.figures
    columns: dict[str, Sequence[Any]] = {
        "id": [held.position_id for held in book.held],
        **{name: [getattr(held.state, name) for held in book.held] for name in FOLDED},
        **{name: [value_of(held) for held in book.held] for name, (_, value_of) in MARKED.items()},
        "daily_volatility": _known(book.daily_volatility),
        **{name: getattr(figures, name).tolist() for name in CODES},
        **{name: _known(getattr(figures, name)) for name in FIGURES},
    }
    return {"as_of": book.as_of, **{f"past_{name}": _array(values) for name, values in columns.items()}}


def _array(values: Sequence[Any]) -> str:
    """As Postgres writes an array: several times as fast as a list that is handed over."""
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return value.isoformat()
    # Of text there are only the fold's own words.
    return f'"{value}"' if isinstance(value, str) else str(value)


def _known(values: Any) -> list[float | None]:
    """What the engine could not know is NULL, as it is in the risk state."""
    found: list[float | None] = values.tolist()
    for place in np.flatnonzero(np.isnan(values)):
        found[place] = None
    return found


def fetch_rows(statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    values: dict[str, Any] = {"limit": settings.MARK_AGE_LIMIT, **parameters}
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
