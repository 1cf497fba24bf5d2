"""Reports of margin: every open position with its risk."""

from advisors.exports import Column, Report
from margin.selectors.positions import count_open_positions, iterate_open_positions

COLUMNS = (
    Column("public_id", "position_id"),
    Column("external_id", "external_id"),
    Column("client_name", "client"),
    Column("portfolio_name", "portfolio"),
    Column("account_label", "account"),
    Column("auto_margin", "auto_margin"),
    Column("venue", "venue"),
    Column("symbol", "symbol"),
    Column("kind", "kind"),
    Column("side", "side"),
    Column("quantity", "quantity", "number"),
    Column("contract_size", "contract_size", "number"),
    Column("entry_price", "entry_price", "number"),
    Column("settle_asset", "settle_asset"),
    Column("isolated_wallet", "isolated_wallet", "number"),
    Column("leverage", "leverage_set", "number"),
    Column("stop_price", "stop_price", "number"),
    Column("opened_at", "opened_at", "time"),
    Column("state", "state"),
    Column("was", "last_known_state"),
    Column("reason", "reason"),
    Column("mark_price", "mark_price", "number"),
    Column("mark_at", "mark_at", "time"),
    Column("value", "value", "number"),
    Column("unrealised_pnl", "unrealised_pnl", "number"),
    Column("equity", "equity", "number"),
    Column("maintenance_margin", "maintenance_margin", "number"),
    Column("margin_ratio", "margin_ratio", "number"),
    Column("venue_ratio", "venue_margin_ratio", "number"),
    Column("venue_ratio_name", "venue_margin_ratio_name"),
    Column("liquidation_price", "liquidation_price", "number"),
    Column("liquidation_reason", "liquidation_reason"),
    Column("bankruptcy_price", "bankruptcy_price", "number"),
    Column("distance_ratio", "distance_ratio", "number"),
    Column("distance_sigmas", "distance_daily_sigmas", "number"),
    Column("sigma_reason", "sigma_reason"),
    Column("daily_volatility", "daily_volatility", "number"),
    # A model: log-normal without drift, not calibrated. The name says so wherever the file goes.
    Column("odds_1h", "model_touch_odds_1h", "number"),
    Column("odds_1d", "model_touch_odds_1d", "number"),
    Column("odds_7d", "model_touch_odds_7d", "number"),
    Column("odds_reason", "odds_reason"),
    Column("effective_leverage", "effective_leverage", "number"),
    Column("max_loss", "max_loss", "number"),
    Column("computed_at", "computed_at", "time"),
)


def positions_report() -> Report:
    return Report(
        name="positions",
        title="Open positions with risk",
        columns=COLUMNS,
        count=count_open_positions,
        rows=iterate_open_positions,
    )
