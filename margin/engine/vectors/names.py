"""What a quantity is called: one name each, whatever the venue or the file adds to it."""

import re

VENUES = (
    "binance|bitget|bitmex|bybit|coinex|delta|deribit|dydx|dydx_v4|gate|htx|huobi|hyperliquid|kraken|kucoin|mexc|okx"
    "|phemex"
)
# A position as one venue reserves for it; elsewhere a venue's name says nothing the row's columns do not.
OF_VENUE = re.compile(rf"^(?:{VENUES})_|_(?:{VENUES})(?:_futures)?$")
FEE = re.compile(
    r"_(?:incl|including|with|plus|and)_(?:(?P<which>entry_and_close|open_and_close|close|closing|exit|entry|open|opening|taker|liquidation)_)?fees?$"
)
FEES = {
    "closing": "close",
    "exit": "close",
    "open": "entry",
    "opening": "entry",
    "taker": "mark",
    "liquidation": "mark",
    "entry_and_close": "both",
    "open_and_close": "both",
}
AT = re.compile(r"_(?:at|on|by)_(?P<price>mark|entry|oracle|index)(?:_price)?$")

SAME = {
    "im": "initial_margin",
    "position_im": "initial_margin",
    "initial_margin_requirement": "initial_margin",
    "initial_margin_required": "initial_margin",
    "mm": "maintenance_margin",
    "maint_margin": "maintenance_margin",
    "position_mm": "maintenance_margin",
    "maintenance_margin_requirement": "maintenance_margin",
    "maintenance_margin_required": "maintenance_margin",
    "oimf_initial_margin": "initial_margin_oimf",
    "liq_price": "liquidation_price",
    "estimated_liquidation_price": "liquidation_price",
    "isolated_liquidation_price": "liquidation_price",
    "liquidation_price_cross": "cross_liquidation_price",
    "liquidation_price_isolated": "liquidation_price",
    "bust_price": "bankruptcy_price",
    "bankrupt_price": "bankruptcy_price",
    "bankruptcy_value": "bankruptcy_notional",
    "bankruptcy_quote": "bankruptcy_notional",
    "value": "notional",
    "position_value": "notional",
    "notional_mark": "notional",
    "entry_value": "notional_entry",
    "cost": "notional_entry",
    "pos_cost": "notional_entry",
    "open_value": "notional_entry",
    "pnl": "unrealized_pnl",
    "floating_profit_loss": "unrealized_pnl",
    "floating_pnl": "unrealized_pnl",
    "unrealised_roe": "roe",
    "unrealized_roe": "roe",
    "unrealised_roe_pcnt": "roe",
    "unrealized_roe_pcnt": "roe",
    "upl": "unrealized_pnl",
    "upnl": "unrealized_pnl",
    "unrealised_pnl": "unrealized_pnl",
    "unrealized_profit": "unrealized_pnl",
    "roi": "roe",
    "pnl_ratio": "roe",
    "upl_ratio": "roe",
    "profit_rate": "roe",
    "unrealized_pnl_ratio": "roe",
    "unrealised_pnl_ratio": "roe",
    "return_on_equity": "roe",
    "return_on_margin": "roe",
    "roe_percent": "roe_pct",
    "unrealized_pnl_percent": "roe_pct",
    "unrealized_pnl_pct": "roe_pct",
    "maintenance_margin_value": "maintenance_margin",
    "isolated_margin_incl_upnl": "equity",
    "isolated_margin_incl_pnl": "equity",
    "isolated_margin_with_upnl": "equity",
    # CoinEx: position margin and profit over the value of the position.
    "position_margin_rate": "ratio_equity_over_notional",
    "margin_used": "equity",
    "margin_balance": "equity",
    "position_equity": "equity",
    "account_equity": "equity",
    "leverage": "effective_leverage",
    "real_leverage": "effective_leverage",
    "maximum_loss": "max_loss",
    "isolated_wallet": "wallet",
    "isolated_margin": "wallet",
    "position_margin": "wallet",
    "cum": "maintenance_amount",
    "maint_amount": "maintenance_amount",
    "maint_amt": "maintenance_amount",
    "mm_deduction": "maintenance_amount",
    "maintenance_deduction": "maintenance_amount",
    "mmdeduction": "maintenance_amount",
    "deduction": "maintenance_amount",
    "tier_amount": "maintenance_amount",
    "maint_margin_rate": "maintenance_margin_rate",
    "mmr": "maintenance_margin_rate",
    "imr": "initial_margin_rate",
    "funding": "funding_payment",
    "funding_fee": "funding_payment",
    "fee_to_close": "close_fee",
    "closing_fee": "close_fee",
    "position_closing_fee": "close_fee",
    "exit_fee": "close_fee",
    "bankruptcy_fee": "close_fee",
    "fee_to_open": "entry_fee",
    "open_fee": "entry_fee",
    "opening_fee": "entry_fee",
    "taker_fee": "mark_fee",
    "liquidation_fee": "mark_fee",
    "pos_maint": "posmaint",
    "pos_margin": "posmargin",
    "pos_comm": "poscomm",
    "pos_init": "posinit",
    "margin_rate": "margin_ratio",
    "mgn_ratio": "margin_ratio_of_venue",
    "margin_ratio_venue": "margin_ratio_of_venue",
    "margin_level": "margin_ratio_of_venue",
    "risk_ratio": "risk_rate",
    "distance": "distance_to_liquidation",
    "distance_ratio": "distance_to_liquidation",
    "liquidation_distance": "distance_to_liquidation",
    "distance_to_liquidation_ratio": "distance_to_liquidation",
    "distance_to_liquidation_pct": "distance_to_liquidation_percent",
    "liquidation_price_displayed": "displayed_liquidation_price",
    "liquidation_price_shown": "displayed_liquidation_price",
    "extra_margin": "margin_to_add",
    "added_margin": "margin_to_add",
    "margin_added": "margin_to_add",
    "extra_margin_required": "margin_to_add",
    "required_margin": "margin_for_liquidation_price",
    "required_isolated_margin": "margin_for_liquidation_price",
    "isolated_margin_required": "margin_for_liquidation_price",
    "margin_for_target": "margin_for_liquidation_price",
    "margin_for_target_liquidation_price": "margin_for_liquidation_price",
    "liquidation_price_shift": "liquidation_price_change",
    "liquidation_price_delta": "liquidation_price_change",
    "free_margin": "free_collateral",
    "available_margin": "free_collateral",
}
# What stands in a ratio named "a over b", each written with the quantities above.
TERMS = {
    "mm": "maintenance_margin",
    "maintenance": "maintenance_margin",
    "maintenance_margin": "maintenance_margin",
    "im": "initial_margin",
    "initial": "initial_margin",
    "initial_margin": "initial_margin",
    "fee": "mark_fee",
    "fees": "mark_fee",
    "taker_fee": "mark_fee",
    "liquidation_fee": "mark_fee",
    "equity": "equity",
    "collateral": "equity",
    "margin": "equity",
    "margin_balance": "equity",
    "position_margin": "equity",
    "notional": "notional",
    "value": "notional",
    "position_value": "notional",
    "mark_value": "notional",
    "entry_value": "notional_entry",
    "entry_notional": "notional_entry",
    "cost": "notional_entry",
    "wallet": "wallet",
    "pnl": "unrealized_pnl",
    "upnl": "unrealized_pnl",
}
RATIO = re.compile(
    r"(?:margin_ratio_|margin_rate_|ratio_)?(?P<top>[a-z_]+?)_(?:over|to|per|div)_(?P<bottom>[a-z_]+)$"
)


def canonical_name(name: str) -> str:
    """The one name of a quantity.

    Parameters  name : as a file has it, such as initial_margin_deribit
    Returns     str: lower case, a venue's name taken off its end, and one name for what has several
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip()).lower()
    plain = re.sub(r"[^a-z0-9]+", "_", words).strip("_")
    without = OF_VENUE.sub("", plain)
    if without == "margin_ratio" and without != plain:
        return "margin_ratio_of_venue"
    if re.fullmatch(r"(cross_|isolated_)?liquidation_price_(after|with)_\w*(add|margin)\w*", without):
        return "liquidation_price"
    return SAME.get(without, without)


# What a word in a name that is not known means, the most particular first.
BY_WORD = (
    (r"liq\w*_price_(change|shift|delta|move)|(change|shift)_of_liq", "liquidation_price_change"),
    (r"distance", "distance_to_liquidation"),
    (r"^(target_)?liq\w*_?price|liquidation_price|^lp(_|$)", "liquidation_price"),
    (r"fillable", "fillable_price"),
    (r"bankrupt\w*_(notional|value|quote)", "bankruptcy_notional"),
    (r"bankrupt\w*_price", "bankruptcy_price"),
    (r"oimf|open_interest", "initial_margin_oimf"),
    (r"risk_rat", "risk_rate"),
    (r"maint\w*_amount|deduction", "maintenance_amount"),
    (r"funding_(payment|fee|paid)", "funding_payment"),
)


def guess_name(name: str) -> str:
    """The quantity a name must mean by a word in it.

    Parameters  name : canonical, and not one that is known
    Returns     str, empty where no word tells
    """
    return next((known for word, known in BY_WORD if re.search(word, name)), "")


def ratio_parts(name: str) -> tuple[list[str], list[str]] | None:
    """The sums a ratio divides.

    Parameters  name : canonical, such as margin_ratio_equity_over_mm_plus_fee
    Returns     quantities of the numerator and of the denominator; None where it is no such name
    """
    fee = FEE.search(name)
    found = RATIO.fullmatch(name[: fee.start()] if fee else name)
    if found is None:
        return None
    sides = [_sum(found[side]) for side in ("top", "bottom")]
    for side in sides:
        if fee and "maintenance_margin" in side:
            side.append("mark_fee")
    return (sides[0], sides[1]) if all(sides) else None


def _sum(text: str) -> list[str]:
    words = re.sub(r"_(?:incl|including|with|and)_(?:\w+_)?fees?$", "_plus_fee", text).split("_plus_")
    return [TERMS[word] for word in words] if all(word in TERMS for word in words) else []


def split_suffixes(name: str) -> tuple[str, str, str]:
    """A margin's name without what it includes and where it is valued.

    Parameters  name : canonical, such as initial_margin_at_mark or maintenance_margin_incl_close_fee
    Returns     the bare name; the fee included, "" none, "close", "entry", "both", "mark" or "any";
                where it is valued, "", "mark" or "entry"
    """
    fee, at = "", ""
    for _ in range(2):
        if found := FEE.search(name):
            fee = FEES.get(found["which"] or "any", found["which"] or "any")
            name = name[: found.start()]
        if found := AT.search(name):
            at = "entry" if found["price"] == "entry" else "mark"
            name = name[: found.start()]
    return SAME.get(name, name), fee, at
