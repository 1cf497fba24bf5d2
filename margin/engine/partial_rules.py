"""What each venue closes first when it liquidates, as data: dated, with its document, and what is not known of it."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from margin.engine.types import INVERSE, LINEAR, QUANTO


class Method(StrEnum):
    """How a venue goes about a position that fell short."""

    WHOLE = "whole"
    TO_COMPLIANCE = "to compliance"
    TIERS_DOWN = "tiers down"
    FRACTION = "fraction"
    BLOCKS = "blocks"
    UNKNOWN = "unknown"


class Fill(StrEnum):
    """The price at which what is closed counts as closed."""

    MARK = "mark"
    BANKRUPTCY = "bankruptcy"
    UNKNOWN = "unknown"


class Standing(StrEnum):
    """How well a rule is known."""

    DOCUMENTED = "documented by the venue"
    OLD_DOCUMENT = "an older page of the venue"
    COPY = "a copy of a page of the venue"
    CODE = "the venue's published code"
    INFERRED = "inferred from pages of the venue"
    NOTHING_FOUND = "no document was found"


ALL_KINDS = (LINEAR, INVERSE, QUANTO)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialRule:
    """How one venue liquidates an isolated position.

    Parameters  venue : as VenueRule.venue, or the part of it before _linear and the like · kinds : of contract
                method : see Method · words : what the venue does, in a sentence or two
                tiers_down : tiers one order goes down · picks_tier : to the highest lower tier that suffices instead
                whole_below_first : the whole, once the margin does not even meet the lowest tier
                whole_tiers : so many lowest tiers are closed whole · once : still short after a part, the rest goes
                part_known_above : whether the size is known outside the whole tiers
                fraction, threshold : part of the position closed above a value · least, most : of a block, in value
                part_fill, whole_fill : assumed price of a part and of the whole · fill_words : what is documented
                fee_rate : of the value closed, None = not known · fee_words : whom it goes to, what is known
                fee_capped : never more than the share of equity in the value
                backstop : share of maintenance below which another mechanism takes the position over
                remainder_stays : what is left of the margin after the whole is closed belongs to the client
                effective_from : None = no earlier rule is known · dated : what the document says of its own date
                unknowns : what no document found says · source : document
    """

    venue: str
    kinds: tuple[int, ...] = ALL_KINDS
    method: Method
    words: str
    tiers_down: int = 1
    picks_tier: bool = False
    whole_tiers: int = 1
    whole_below_first: bool = False
    once: bool = False
    part_known_above: bool = True
    fraction: Decimal = Decimal(1)
    threshold: Decimal = Decimal(0)
    least: Decimal = Decimal(0)
    most: Decimal | None = None
    part_fill: Fill = Fill.MARK
    whole_fill: Fill = Fill.BANKRUPTCY
    fill_words: str = ""
    fee_rate: Decimal | None = None
    fee_words: str = ""
    fee_capped: bool = False
    backstop: Decimal | None = None
    remainder_stays: bool = False
    standing: Standing = Standing.DOCUMENTED
    effective_from: date | None = None
    dated: str
    unknowns: tuple[str, ...] = ()
    source: str

    def covers(self, venue: str, kind: int) -> bool:
        return (venue == self.venue or venue.startswith(f"{self.venue}_")) and kind in self.kinds


_FILL_OR_KILL = "one order, filled at once and whole or not at all"
_NO_FEE_RATE = "the rate of the fee"
_BYBIT = {
    "method": Method.TIERS_DOWN,
    "picks_tier": True,
    "once": True,
    "fill_words": _FILL_OR_KILL,
    "fee_words": "what a part costs beside the loss",
    "dated": "2024-10, before maintenance was valued at the mark (2025-09-02)",
    "unknowns": (_NO_FEE_RATE, "whether the page of before 2025-09-02 still holds"),
}

PARTIAL_RULES: tuple[PartialRule, ...] = (
    PartialRule(
        venue="binance_usdm",
        kinds=(LINEAR,),
        method=Method.TO_COMPLIANCE,
        words="Open orders are cancelled, then one large order at once tries to bring the position back to "
        "compliance. If it still falls short after the realised loss and the fee, the insurance fund takes the rest "
        "over at the bankruptcy price. Binance: smaller positions will almost always be liquidated whole.",
        fill_words="one immediate order with a limit; the limit is not published",
        fee_words="on the amount closed only, to the insurance fund; each symbol has its own rate (liquidationFee "
        "in the exchange information)",
        dated="help page last updated 2024-05-29",
        unknowns=("how much the order closes", "its limit price", "the fee rate of the symbol"),
        source="https://www.binance.com/en/support/faq/360033525271",
    ),
    PartialRule(
        venue="binance_coinm",
        kinds=(INVERSE,),
        method=Method.UNKNOWN,
        words="No page about coin-margined contracts was found; what holds for USD-M need not hold for them.",
        standing=Standing.NOTHING_FOUND,
        dated="looked for 2026-11-22",
        unknowns=("whether a part is closed first", "sizes", "prices", "the fee"),
        source="https://www.binance.com/en/support/faq/360033525271 (USD-M only)",
    ),
    PartialRule(
        venue="bybit_linear",
        kinds=(LINEAR,),
        words="Open orders of the contract are cancelled. Above the lowest tier, one order closes what exceeds the "
        "limit of the lower tier whose requirement the margin meets. Unfilled or still short, and always in the "
        "lowest tier, the whole position is taken over at the bankruptcy price; what it sells better goes to the "
        "insurance fund.",
        source="Bybit help centre, articles 900000167723 (liquidation process, USDT contract) and 000001381 (USDC "
        "contracts, unified account), stored copies",
        **_BYBIT,  # type: ignore[arg-type]
    ),
    PartialRule(
        venue="bybit_inverse",
        kinds=(INVERSE,),
        words="Open orders of the contract are cancelled. Above the lowest tier, one order closes what exceeds the "
        "limit of the lower tier whose requirement the margin meets. Unfilled or still short, and always in the "
        "lowest tier, the whole position is taken over at the bankruptcy price.",
        source="Bybit help centre, article 000001098 (liquidation process, inverse contracts; 2024-01-24), stored copy",
        **_BYBIT,  # type: ignore[arg-type]
    ),
    PartialRule(
        venue="okx",
        method=Method.TIERS_DOWN,
        tiers_down=2,
        whole_tiers=2,
        whole_below_first=True,
        words="From tier 3 up, the contracts above the limit of the tier two below are closed, and again while it "
        "falls short. In tiers 1 and 2, or once the margin does not even meet tier 1, the whole position is taken "
        "over at the bankruptcy price.",
        fill_words="an order slightly better than the market",
        fee_words="a clearance fee, to the insurance fund",
        standing=Standing.COPY,
        dated="undated; a page of 2024 says tier by tier, without sizes",
        unknowns=(_NO_FEE_RATE, "whether the sizes still hold today"),
        source="https://open-lib.com/11556.html (copy of OKX Learn); "
        "https://www.okx.com/learn/when-would-my-order-be-liquidated (2024)",
    ),
    PartialRule(
        venue="bitmex",
        method=Method.TIERS_DOWN,
        once=True,
        words="Open orders are cancelled. Above the lowest risk limit, one order brings the value below the next "
        "lower one. Unfilled or still short, and always in the lowest, the entire position is taken over at the "
        "bankruptcy price.",
        fill_words=_FILL_OR_KILL,
        fee_words="none stated: what remains of the margin is lost with the whole",
        dated="undated copy",
        unknowns=("whether a part pays a fee",),
        source="https://www.bitmex.com/app/liquidation",
    ),
    PartialRule(
        venue="hyperliquid",
        kinds=(LINEAR,),
        method=Method.FRACTION,
        fraction=Decimal("0.2"),
        threshold=Decimal(100_000),
        whole_fill=Fill.MARK,
        fill_words="a market order into the book",
        fee_rate=Decimal(0),
        fee_words="no clearance fee; the ordinary taker fee of the fill is not counted",
        backstop=Decimal(2) / Decimal(3),
        remainder_stays=True,
        words="Worth more than 100,000 USDC, a fifth is sent to the book. During the 30 seconds after that, what "
        "falls short again is closed whole; later, a fifth again while it is worth more than 100,000. At or below, "
        "the whole is sent, and stops where it complies. What remains of the margin stays with the client.",
        dated="documentation read 2026-08",
        source="https://hyperliquid.gitbook.io/hyperliquid-docs/trading/liquidations",
    ),
    PartialRule(
        venue="dydx",
        kinds=(LINEAR,),
        method=Method.BLOCKS,
        fraction=Decimal("0.1"),
        least=Decimal(1_000),
        most=Decimal(100_000),
        whole_fill=Fill.MARK,
        fill_words="an immediate order down to the fillable price; taken here as filled at the oracle price",
        fee_rate=Decimal("0.015"),
        fee_words="at most 1.5 % and never more than the equity of what is closed, to the insurance fund",
        fee_capped=True,
        remainder_stays=True,
        standing=Standing.CODE,
        words="Every block a tenth is offered, at least 1,000 and at most 100,000 USDC of it, until the account "
        "complies; what finds no taker is deleveraged. What remains stays with the client.",
        dated="parameters of the chain's start; governance may have changed them since",
        unknowns=("today's parameters of the chain",),
        source="github.com/dydxprotocol/v4-chain, protocol/x/clob/keeper/liquidations.go",
    ),
    PartialRule(
        venue="kraken_inverse",
        kinds=(INVERSE,),
        method=Method.WHOLE,
        words="The whole position is sent as one order with its limit where equity is zero. What it does not fill "
        "is assigned to others, then unwound. What fills better than the limit stays with the client.",
        fill_words="limit at the bankruptcy price: at worst there, better stays with the client",
        fee_words="none stated for coin-margined contracts",
        remainder_stays=True,
        dated="page updated 2026-03-17",
        unknowns=("whether a fee is charged",),
        source="https://support.kraken.com/hc/en-us/articles/360022835671-Equity-Protection-Process",
    ),
    PartialRule(
        venue="kraken_linear",
        kinds=(LINEAR,),
        method=Method.UNKNOWN,
        effective_from=date(2026, 3, 26),
        words="Parts are closed first, with a fee, since 26 March 2026.",
        dated="page updated 2026-03-17",
        unknowns=("the size of a part", "from which size on", "the fee"),
        source="https://support.kraken.com/hc/en-us/articles/360022835671-Equity-Protection-Process",
    ),
    PartialRule(
        venue="deribit",
        method=Method.UNKNOWN,
        fee_words="beside the taker fee, to the insurance fund: 0.75 % of the amount closed for BTC, 0.9 % for ETH",
        fill_words="market orders",
        words="Small parts are closed, one round a second, until maintenance is below the margin balance; the rest "
        "stays open.",
        dated="pages read 2026-11-22",
        unknowns=("the size of a round today", "the fee of USDC contracts"),
        source="Deribit support, articles 25944769313309 (Liquidations) and 25944777576477 (Insurance), stored copies",
    ),
    PartialRule(
        venue="gate",
        method=Method.TIERS_DOWN,
        words="Open orders are cancelled, the risk limit goes down by one tier and what exceeds it is closed; again "
        "while maintenance exceeds the margin balance.",
        fill_words="not documented",
        effective_from=date(2024, 7, 15),
        dated="announcements 37783 of 2024-07-10 and 39469 of 2024-09-24",
        part_fill=Fill.UNKNOWN,
        whole_fill=Fill.UNKNOWN,
        unknowns=("the price of a part", "the fee", "what becomes of the lowest tier"),
        source="Gate, announcements 37783 (2024-07-10) and 39469 (2024-09-24), stored copies",
    ),
    PartialRule(
        venue="gate",
        method=Method.WHOLE,
        words="The whole position is taken over at the bankruptcy price.",
        fill_words="taken over",
        dated="accounts before the change of 2024-07-15",
        unknowns=("the fee",),
        source="Gate, announcement 37783 (2024-07-10), stored copy",
    ),
    PartialRule(
        venue="bitget",
        method=Method.WHOLE,
        words="Closing parts first leaves isolated margin out, in Bitget's own words: the whole goes at once.",
        whole_fill=Fill.UNKNOWN,
        fill_words="not documented for isolated margin",
        standing=Standing.INFERRED,
        dated="page of 2025-02-07",
        unknowns=("the price", "the fee"),
        source="Bitget support, article 360058821652 (2025-02-07), stored copy",
    ),
    PartialRule(
        venue="kucoin",
        method=Method.TIERS_DOWN,
        once=True,
        words="Above level 1, one order closes what exceeds the limit of the level below; the loss is booked to the "
        "account. Unfilled, and always in level 1, the whole position is taken over.",
        fill_words=_FILL_OR_KILL,
        standing=Standing.OLD_DOCUMENT,
        dated="page of 2022-12-01",
        unknowns=(
            _NO_FEE_RATE,
            "whether it holds under the margin rule of 2025",
            "a higher level the client chose",
        ),
        source="https://www.kucoin.com/blog/what-is-risk-limit-level-on-kucoin-futures-en",
    ),
    PartialRule(
        venue="htx",
        method=Method.TIERS_DOWN,
        picks_tier=True,
        words="Open orders are cancelled and opposite positions netted. Above tier 1, what exceeds the limit of a "
        "lower tier at which the margin ratio is above zero is taken over; where none suffices, and always in tier "
        "1, the whole.",
        fill_words="taken over; the price is not documented",
        part_fill=Fill.UNKNOWN,
        whole_fill=Fill.UNKNOWN,
        fee_words="an older page says there is no charge, a newer one that a small fee may be charged",
        dated="pages read 2026-11-22",
        unknowns=("the price of a part", "the fee"),
        source="HTX (Huobi) support, articles 900001325083 (USDT contracts, isolated), 900000106106 (coin-margined) "
        "and, newer, 24959973437846; stored copies",
    ),
    PartialRule(
        venue="phemex",
        method=Method.UNKNOWN,
        words="The position is closed in increments until the funds cover the maintenance margin.",
        dated="pages read 2026-11-22",
        unknowns=("the size of an increment", "its price", "the fee"),
        source="https://phemex.com/references/articles/liquidation-stop-loss-take-profit",
    ),
    PartialRule(
        venue="coinex",
        method=Method.WHOLE,
        words="All pending orders of the coin are cancelled; the position is taken over whole at the bankruptcy "
        "price.",
        fill_words="taken over",
        dated="page read 2026-11-22",
        unknowns=("the fee",),
        source="CoinEx support, article 360035659774, stored copy",
    ),
    PartialRule(
        venue="delta",
        method=Method.WHOLE,
        part_known_above=False,
        words="Up to the position threshold one order closes all, with its limit at the bankruptcy price; a better "
        "fill pays the liquidation charge first. Above the threshold the position is closed in increments.",
        fill_words="limit at the bankruptcy price",
        fee_words="a liquidation charge, out of what remains",
        standing=Standing.COPY,
        dated="copy of 2024",
        unknowns=("the size of an increment above the threshold", "the rate of the charge"),
        source="Delta Exchange guide “Liquidation of Isolated Margined Positions”, copy of 2024",
    ),
    PartialRule(
        venue="mexc",
        method=Method.TIERS_DOWN,
        part_fill=Fill.BANKRUPTCY,
        words="Above the lowest tier the tier is lowered and what exceeds it taken over at the bankruptcy price; "
        "again while the margin rate is 100 % or more. In the lowest tier the whole is taken over.",
        fill_words="taken over",
        dated="pages of 2025-03-21 and 2025-11-04",
        unknowns=("the rate of the fee of a part",),
        source="https://www.mexc.com/support/articles/360044646391",
    ),
)


def partial_rule_for(venue: str, kind: int, on: date | None = None) -> PartialRule | None:
    """How a venue liquidates on a day.

    Parameters  venue, kind : of the VenueRule in force · on : day asked about, None = the newest
    Returns     PartialRule, or None where no document is known
    """
    found = [
        rule
        for rule in PARTIAL_RULES
        if rule.covers(venue, kind)
        and (on is None or rule.effective_from is None or rule.effective_from <= on)
    ]
    return max(found, key=lambda rule: rule.effective_from or date.min, default=None)
