"""Every route and what each role is answered, and by what name an object stands in its address."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One method of a route: the code for nobody, advisor, compliance and admin, and what is sent."""

    method: str
    codes: tuple[int, int, int, int]
    sent: dict[str, str] = field(default_factory=dict)


def get(nobody: int, advisor: int, compliance: int, admin: int) -> Row:
    return Row("GET", (nobody, advisor, compliance, admin))


def post(nobody: int, advisor: int, compliance: int, admin: int, **sent: str) -> Row:
    return Row("POST", (nobody, advisor, compliance, admin), sent)


# In the order in which they are asked; a form sent empty is answered with its errors.
TABLE: dict[str, list[Row]] = {
    "healthz_live": [get(200, 200, 200, 200)],
    "healthz_ready": [get(503, 503, 503, 503)],
    "account_login": [get(200, 302, 302, 302), post(200, 302, 302, 302)],
    "account_logout": [get(302, 200, 200, 200), post(302, 302, 302, 302)],
    "account_signup": [get(302, 302, 302, 302), post(302, 302, 302, 302)],
    "account_inactive": [get(200, 200, 200, 200)],
    "account_change_password": [get(302, 200, 200, 200), post(302, 200, 200, 200)],
    "account_set_password": [get(302, 302, 302, 302), post(302, 302, 302, 302)],
    "account_reset_password": [get(200, 200, 200, 200), post(200, 200, 200, 200)],
    "account_reset_password_done": [get(200, 200, 200, 200)],
    "account_reset_password_from_key": [get(200, 200, 200, 200), post(200, 200, 200, 200)],
    "account_reset_password_from_key_done": [get(200, 200, 200, 200)],
    "api_schema": [get(401, 200, 200, 200)],
    "api_clients": [get(401, 200, 200, 200)],
    "api_portfolios": [get(401, 200, 200, 403)],
    "api_positions": [get(401, 200, 200, 403), post(401, 401, 401, 401)],
    "api_position": [get(401, 200, 200, 403)],
    "api_events": [get(401, 200, 200, 403), post(401, 401, 401, 401)],
    "api_marks": [get(401, 200, 200, 403), post(401, 401, 401, 401)],
    "margin:home": [get(302, 200, 200, 302)],
    "margin:home_live": [get(302, 200, 200, 403)],
    "margin:home_map_figure": [get(401, 200, 200, 403)],
    "margin:home_ladder_figure": [get(401, 200, 200, 403)],
    "margin:freshness": [get(302, 200, 200, 403)],
    "margin:days": [get(302, 200, 200, 403)],
    "margin:levels": [get(302, 200, 200, 403)],
    "margin:levels_set": [get(302, 403, 200, 403), post(302, 403, 422, 403)],
    "margin:tiers": [get(302, 200, 200, 403)],
    "margin:tier_table": [get(302, 200, 200, 403)],
    "margin:tier_table_figure": [get(401, 200, 200, 403)],
    "margin:clients": [get(302, 200, 200, 200)],
    "margin:client": [get(302, 200, 200, 403)],
    "margin:client_live": [get(302, 200, 200, 403)],
    "margin:portfolio": [get(302, 200, 200, 403)],
    "margin:portfolio_live": [get(302, 200, 200, 403)],
    "margin:positions": [get(302, 200, 200, 403)],
    "margin:positions_live": [get(302, 200, 200, 403)],
    "margin:position": [get(302, 200, 200, 403)],
    "margin:position_live": [get(302, 200, 200, 403)],
    "margin:events": [get(302, 200, 200, 403)],
    "margin:event_new": [get(302, 200, 403, 403), post(302, 422, 403, 403)],
    "margin:position_price_figure": [get(401, 200, 200, 403)],
    "margin:position_history_figure": [get(401, 200, 200, 403)],
    "portfolios:portfolio_new": [get(302, 200, 403, 403), post(302, 422, 403, 403)],
    "portfolios:portfolio_edit": [get(302, 200, 403, 403), post(302, 422, 403, 403)],
    "portfolios:position_new": [get(302, 200, 403, 403), post(302, 422, 403, 403)],
    "portfolios:account_new": [get(302, 200, 403, 403), post(302, 422, 403, 403)],
    "portfolios:account_edit": [get(302, 200, 403, 403), post(302, 422, 403, 403)],
    "portfolios:annotate": [get(302, 200, 403, 403), post(302, 302, 403, 403)],
    "portfolios:search": [get(302, 200, 200, 200)],
    "portfolios:imports": [get(302, 200, 403, 403), post(302, 422, 403, 403)],
    "portfolios:import_preview": [get(302, 200, 403, 403)],
    "portfolios:import_columns": [get(302, 200, 403, 403), post(302, 422, 403, 403)],
    "portfolios:import_commit": [post(302, 302, 403, 403)],
    "portfolios:import_undo": [post(302, 302, 403, 403)],
    "portfolios:profile_retire": [post(302, 302, 403, 403)],
    "advisors:client_new": [get(302, 200, 403, 403), post(302, 422, 403, 403)],
    "advisors:client_edit": [get(302, 200, 403, 403), post(302, 422, 403, 403)],
    "advisors:client_profile": [get(302, 200, 200, 403)],
    "advisors:client_term": [get(302, 200, 403, 403), post(302, 422, 403, 403)],
    "advisors:people": [get(302, 403, 403, 200)],
    "advisors:member_new": [get(302, 403, 403, 200), post(302, 403, 403, 422)],
    "advisors:assignments": [get(302, 403, 403, 200)],
    "advisors:assign": [post(302, 403, 403, 302, client="client", member="member")],
    "advisors:unassign": [post(302, 403, 403, 302, client="client", member="member")],
    "advisors:member_suspend": [post(302, 403, 403, 302)],
    "advisors:member_restore": [post(302, 403, 403, 302)],
    "advisors:exports": [get(302, 403, 200, 403)],
    "advisors:export_request": [post(302, 403, 302, 403, report="positions")],
    "advisors:export_status": [get(302, 403, 200, 403)],
    "advisors:export_download": [get(302, 403, 200, 403)],
}
# What the public_id of a route names.
NAMED = {
    "api_position": "position",
    "api_events": "position",
    "margin:client": "client",
    "margin:client_live": "client",
    "margin:portfolio": "portfolio",
    "margin:portfolio_live": "portfolio",
    "margin:position": "position",
    "margin:position_live": "position",
    "margin:events": "position",
    "margin:event_new": "position",
    "margin:position_price_figure": "position",
    "margin:position_history_figure": "position",
    "portfolios:portfolio_new": "client",
    "portfolios:portfolio_edit": "portfolio",
    "portfolios:position_new": "portfolio",
    "portfolios:account_new": "client",
    "portfolios:account_edit": "account",
    "portfolios:annotate": "position",
    "portfolios:import_preview": "batch",
    "portfolios:import_columns": "batch",
    "portfolios:import_commit": "batch",
    "portfolios:import_undo": "batch",
    "portfolios:profile_retire": "profile",
    "advisors:client_edit": "client",
    "advisors:client_profile": "client",
    "advisors:client_term": "client",
    "advisors:member_suspend": "member",
    "advisors:member_restore": "member",
    "advisors:export_download": "export",
}
# What stands in the address of a route that is about no object of a firm.
GLOBAL_NAMES = {
    "account_reset_password_from_key": {"uidb36": "1", "key": "never-given-out"},
    "margin:tier_table": {"label": "binance_usdm", "symbol": "BTCUSDT"},
    "margin:tier_table_figure": {"label": "binance_usdm", "symbol": "BTCUSDT"},
}
