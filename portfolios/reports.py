"""Reports of portfolios: every event of the firm's ledger."""

from advisors.exports import Column, Report
from portfolios.selectors import count_ledger, iterate_ledger

COLUMNS = (
    Column("seq", "seq", "number"),
    Column("position_id", "position_id"),
    Column("external_id", "external_id"),
    Column("client_name", "client"),
    Column("client_reference", "client_reference"),
    Column("portfolio_name", "portfolio"),
    Column("account_label", "account"),
    Column("venue", "venue"),
    Column("symbol", "symbol"),
    Column("side", "side"),
    Column("kind", "event"),
    Column("effective_at", "effective_at", "time"),
    Column("recorded_at", "recorded_at", "time"),
    Column("quantity", "quantity", "number"),
    Column("price", "price", "number"),
    Column("amount", "amount", "number"),
    Column("settle_asset", "amount_asset"),
    Column("leverage", "leverage", "number"),
    Column("rate", "rate", "number"),
    Column("replaces_seq", "replaces_seq", "number"),
    Column("source", "source"),
    Column("author_name", "author"),
    Column("batch_file", "import_file"),
    Column("note", "note"),
)


def events_report() -> Report:
    return Report(
        name="events",
        title="Every position event",
        columns=COLUMNS,
        count=count_ledger,
        rows=iterate_ledger,
    )
