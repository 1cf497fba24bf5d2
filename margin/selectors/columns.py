"""The columns of the positions table: what each is called, how it is sorted, and whether it is shown unasked."""

from dataclasses import dataclass

from margin.selectors.dollars import IN_DOLLARS
from margin.selectors.odds import NEVER
from margin.selectors.positions import DISTANCE, RANK

TEXT, INT, FLOAT, NUMERIC = "text", "int", "float8", "numeric"
IDENTITY, RISK, MONEY, TIME = "Identity", "Risk", "Money", "Time"
_NEVER = ", ".join(str(int(reason)) for reason in sorted(NEVER))
# The odds fall as the distance in σ grows; certain of what is liquidatable, none of a mark that is old.
TOUCH = f"""(CASE WHEN {RANK} = 3 THEN NULL WHEN r.state = 4 THEN 'Infinity'::float8
    WHEN r.liquidation_reason IN ({_NEVER}) THEN '-Infinity'::float8 ELSE -r.distance_sigmas END)"""
MARGIN_DOLLARS = f"(p.isolated_wallet::float8 * {IN_DOLLARS})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SortKey:
    """What is sorted by, as an expression on the tables of positions, and the type in which a cursor carries it."""

    sql: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; no sort keys means that it cannot be sorted by."""

    key: str
    header: str
    unit: str = ""
    group: str
    keys: tuple[SortKey, ...] = ()
    css: str = ""
    is_default: bool = False
    is_fixed: bool = False
    # The first click on it: what is worth looking at is high in some columns and low in others.
    falls_first: bool = False
    meaning: str = ""

    @property
    def label(self) -> str:
        """Told apart without the line under the header."""
        return f"{self.header} {self.unit}".strip()

    @property
    def first_word(self) -> str:
        return "highest" if self.falls_first else "lowest"

    @property
    def is_number(self) -> bool:
        return "num" in self.css.split()


def _by(sql: str, kind: str) -> tuple[SortKey, ...]:
    return (SortKey(sql=f"({sql})::{kind}", kind=kind),)


def _dollars(figure: str) -> tuple[SortKey, ...]:
    return _by(f"{figure} * {IN_DOLLARS}", FLOAT)


# Worst first: what the state is, then how far off it is.
WORST_FIRST = (SortKey(sql=f"({RANK})::int", kind=INT), SortKey(sql=f"({DISTANCE})", kind=FLOAT))
COLUMNS = (
    Column(key="state", header="State", group=IDENTITY, keys=WORST_FIRST, css="a-state", is_default=True,
           is_fixed=True,
           meaning="The worst first, then the closest"),
    Column(key="client", header="Client", group=IDENTITY, keys=_by("c.name", TEXT), css="name a-name clip",
           is_default=True),
    Column(key="portfolio", header="Portfolio", group=IDENTITY, keys=_by("f.name", TEXT), css="sub hide-s clip"),
    Column(key="account", header="Account", group=IDENTITY, keys=_by("a.label", TEXT), css="sub hide-s clip"),
    Column(key="position", header="Position", group=IDENTITY,
           keys=(*_by("i.symbol", TEXT), *_by("p.side", TEXT)), css="sub a-pos", is_default=True, is_fixed=True),
    Column(key="reference", header="Reference", group=IDENTITY, keys=_by("p.external_id", TEXT),
           css="sub hide-s clip"),
    Column(key="venue", header="Venue", group=IDENTITY, keys=_by("i.venue", TEXT), css="sub hide-s clip",
           is_default=True),
    Column(key="side", header="Side", group=IDENTITY, keys=_by("p.side", TEXT), css="sub hide-s"),
    Column(key="settle", header="Settles", unit="in", group=IDENTITY, keys=_by("i.settle_asset", TEXT),
           css="sub hide-s"),
    Column(key="tags", header="Tags", group=IDENTITY, css="sub hide-s clip"),
    Column(key="set_leverage", header="Leverage", unit="set ×", group=RISK, keys=_by("p.leverage", NUMERIC),
           css="num hide-s", falls_first=True),
    Column(key="leverage", header="Lev.", unit="eff. ×", group=RISK, keys=_by("r.effective_leverage", FLOAT),
           css="num hide-s", is_default=True, falls_first=True, meaning="Effective leverage: value over equity"),
    Column(key="size", header="Size", group=MONEY, keys=_by("p.quantity", NUMERIC), css="num hide-s",
           falls_first=True),
    Column(key="value", header="Value", group=MONEY, keys=_dollars("r.value"), css="num hide-s", is_default=True,
           falls_first=True, meaning="Sorted by its value in USD"),
    Column(key="margin", header="Margin", group=MONEY, keys=_by(MARGIN_DOLLARS, FLOAT), css="num hide-s",
           falls_first=True, meaning="Isolated wallet; sorted by its value in USD"),
    Column(key="risk", header="At risk", group=MONEY, keys=_dollars("r.max_loss"), css="num a-risk", is_default=True,
           falls_first=True, meaning="The most that can be lost from here; sorted by its value in USD"),
    Column(key="share", header="Of pf.", unit="%", group=MONEY,
           keys=_by(f"{MARGIN_DOLLARS} / s.margin_dollars", FLOAT),
           css="num hide-s", falls_first=True,
           meaning="Its margin as a share of the margin of its portfolio"),
    Column(key="maintenance", header="Maint.", unit="margin", group=MONEY, keys=_dollars("r.maintenance_margin"),
           css="num hide-s", falls_first=True, meaning="Sorted by its value in USD"),
    Column(key="entry", header="Entry", unit="quote", group=MONEY, keys=_by("p.entry_price", NUMERIC),
           css="num sub hide-s"),
    Column(key="mark", header="Mark", unit="quote", group=MONEY, keys=_by("r.mark_price", FLOAT), css="num hide-s"),
    Column(key="liquidation", header="Liquidation", unit="quote", group=RISK, keys=_by("r.liquidation_price", FLOAT),
           css="num a-liq", is_default=True),
    Column(key="sigmas", header="Dist.", unit="daily σ", group=RISK, keys=_by("r.distance_sigmas", FLOAT),
           css="num strong a-z", is_default=True, meaning="Distance to liquidation in daily σ"),
    Column(key="distance", header="Dist.", unit="%", group=RISK, keys=_by("r.distance_ratio", FLOAT),
           css="num hide-s",
           is_default=True, meaning="Distance to liquidation in per cent of the mark"),
    Column(key="touch", header="Touch", unit="1 d, %", group=RISK, keys=_by(TOUCH, FLOAT), css="num hide-s",
           is_default=True, falls_first=True, meaning="Chance that the mark touches liquidation within a day"),
    Column(key="used", header="Used", unit="%", group=RISK, keys=_by("r.margin_ratio", FLOAT), css="num hide-s",
           is_default=True, falls_first=True, meaning="Maintenance used: maintenance margin over equity"),
    Column(key="stop", header="Stop", unit="quote", group=RISK, keys=_by("p.stop_price", NUMERIC),
           css="num sub hide-s",
           is_default=True),
    Column(key="pnl", header="P&L", group=MONEY, keys=_dollars("r.unrealised_pnl"), css="num a-pl", is_default=True,
           meaning="Unrealised; sorted by its value in USD"),
    # The moment and not the age: an age of a row would be another one on the next page.
    Column(key="age", header="Open for", group=TIME, keys=_by("-extract(epoch FROM p.opened_at)", FLOAT),
           css="num sub hide-s", falls_first=True),
    Column(key="priced", header="Mark age", group=TIME, keys=_by("-extract(epoch FROM r.priced_at)", FLOAT),
           css="num sub hide-s", falls_first=True),
    Column(key="since", header="In state", unit="for", group=TIME, css="num sub hide-s"),
)  # fmt: skip
BY_KEY = {column.key: column for column in COLUMNS}
DEFAULT_COLUMNS = tuple(column for column in COLUMNS if column.is_default)
FIXED = frozenset(column.key for column in COLUMNS if column.is_fixed)
GROUPS = (IDENTITY, RISK, MONEY, TIME)
MAX_SORTS = 4


class UnknownColumn(ValueError):
    """There is no such column, or it cannot be sorted by."""


@dataclass(frozen=True, slots=True)
class SortTerm:
    column: Column
    falls: bool

    @property
    def word(self) -> str:
        return f"-{self.column.key}" if self.falls else self.column.key


def parse_sort(text: str) -> tuple[SortTerm, ...]:
    """`-sigmas,client` as terms, the first the weightiest; nothing is worst first."""
    terms: list[SortTerm] = []
    for word in filter(None, text.split(",")):
        column = BY_KEY.get(word.removeprefix("-"))
        if column is None or not column.keys or column in [term.column for term in terms]:
            raise UnknownColumn(word[:40])
        terms.append(SortTerm(column, word.startswith("-")))
    if len(terms) > MAX_SORTS:
        raise UnknownColumn("too many")
    return tuple(terms) or (SortTerm(BY_KEY["state"], falls=False),)


def chosen_columns(keys: list[str]) -> tuple[Column, ...]:
    """In the declared order, whatever the order of the keys; those that name a row are always there."""
    if not keys:
        return DEFAULT_COLUMNS
    unknown = [key for key in keys if key not in BY_KEY]
    if unknown:
        raise UnknownColumn(unknown[0][:40])
    return tuple(column for column in COLUMNS if column.is_fixed or column.key in keys)
