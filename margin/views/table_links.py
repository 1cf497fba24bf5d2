"""The address of the positions table: it says all that the table shows, and every control is a link to another one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, urlencode

from advisors.moment import as_of_query
from margin.forms.position_table import DENSITIES, FILTERS, STOPS, PositionFilterForm
from margin.selectors.columns import COLUMNS, DEFAULT_COLUMNS, GROUPS, Column, SortTerm
from portfolios.importing import plain

Pairs = tuple[tuple[str, str], ...]
ORDER = (*FILTERS, "sort", "columns", "density")
WORST_FIRST = (("sort", "state"),)
MANY = frozenset({"state", "stop"})
FILTER_WORDS = {
    "text": "Mentions",
    "side": "Side",
    "stop": "Stop",
    "state": "State",
    "venue": "Venue",
    "coin": "Coin",
}


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter in force, and the address without it."""

    label: str
    value: str
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Of a column: how it is sorted now, and the addresses of sorting by it alone and beneath what there is."""

    column: Column
    falls: bool | None
    place: int
    query: str
    also_query: str


@dataclass(frozen=True, slots=True)
class Choice:
    word: str
    is_chosen: bool
    query: str


@dataclass(frozen=True, slots=True)
class ColumnGroup:
    name: str
    columns: tuple[tuple[Column, bool], ...]


@dataclass(frozen=True, slots=True)
class TableLinks:
    """Made of a form that is valid; as_of is kept by every address that the page writes."""

    form: PositionFilterForm
    moment: datetime | None = None

    @property
    def pairs(self) -> Pairs:
        """What is asked for, in one order: the same table has one address."""
        given = self.form.cleaned_data
        found: list[tuple[str, str]] = []
        for name in FILTERS:
            value = given[name]
            if name in MANY:
                found += [(name, word) for word in value]
            elif value not in {None, ""}:
                found.append((name, plain(value) if name in {"distance", "margin"} else str(value)))
        if not self.is_worst_first:
            found.append(("sort", _words(self.form.terms)))
        if self.form.shown != DEFAULT_COLUMNS:
            found.append(("columns", ",".join(column.key for column in self.form.shown)))
        if self.form.density_word != DENSITIES[0]:
            found.append(("density", self.form.density_word))
        return tuple(found)

    @property
    def is_worst_first(self) -> bool:
        return _words(self.form.terms) == "state"

    @property
    def query(self) -> str:
        """What a saved view keeps: of no moment and no place."""
        return urlencode(self.pairs or WORST_FIRST)

    @property
    def sort_words(self) -> str | None:
        """None where it is the order that nobody has to ask for."""
        return None if self.is_worst_first else _words(self.form.terms)

    @property
    def column_count(self) -> int:
        return len(COLUMNS)

    def kept(self, *names: str) -> Pairs:
        """What a form must carry so that only these change."""
        return tuple(pair for pair in self.pairs if pair[0] not in names)

    @property
    def kept_by_filters(self) -> Pairs:
        return self.kept(*(name for name in FILTERS if name != "portfolio"))

    @property
    def kept_by_columns(self) -> Pairs:
        return self.kept("columns")

    def _with(self, name: str, value: str) -> str:
        changed = ((name, value),) if value else ()
        return self.written(sorted((*self.kept(name), *changed), key=lambda pair: ORDER.index(pair[0])))

    def written(self, pairs: Iterable[tuple[str, str]]) -> str:
        """Never nothing: a page that is asked for nothing opens with the view that the member likes best."""
        asked = urlencode(tuple(pairs) or WORST_FIRST)
        return "&".join(filter(None, (asked, as_of_query(self.moment))))

    @property
    def bare(self) -> str:
        return self.written(())

    def chips(self) -> list[Chip]:
        return [
            Chip(
                *self._words_of(name, value),
                self.written(pair for pair in self.pairs if pair != (name, value)),
            )
            for name, value in self.pairs
            if name in FILTERS
        ]

    def _words_of(self, name: str, value: str) -> tuple[str, str]:
        if name == "client":
            return "Client", dict(self.form.fields["client"].choices)[value]  # type: ignore[attr-defined]
        if name == "venue":
            return "Venue", dict(self.form.fields["venue"].choices)[value]  # type: ignore[attr-defined]
        words = {
            "portfolio": ("Portfolio", "one"),
            "distance": ("Closer than", f"{value} %, or not known"),
            "margin": ("Margin from", f"{value} USD, or not known"),
        }
        if name == "state":
            value = value.upper() if value == "ok" else value
        if name == "stop":
            value = dict(STOPS)[value]
        return words.get(name, (FILTER_WORDS.get(name, name.capitalize()), value))

    def headers(self) -> list[Header]:
        places = {term.column: (n, term) for n, term in enumerate(self.form.terms, start=1)}
        return [self._header(column, *places.get(column, (0, None))) for column in self.form.shown]

    def _header(self, column: Column, place: int, term: SortTerm | None) -> Header:
        falls = column.falls_first if term is None else not term.falls
        turned = SortTerm(column, falls)
        also = [turned if each.column == column else each for each in self.form.terms]
        return Header(
            column=column,
            falls=None if term is None else term.falls,
            place=place if len(self.form.terms) > 1 else 0,
            query=self._with("sort", turned.word),
            also_query=self._with("sort", _words(also if term else [*also, turned])),
        )

    def densities(self) -> list[Choice]:
        return [
            Choice(word, word == self.form.density_word, self._with("density", word if n else ""))
            for n, word in enumerate(DENSITIES)
        ]

    def column_groups(self) -> list[ColumnGroup]:
        return [
            ColumnGroup(
                name, tuple((column, column in self.form.shown) for column in COLUMNS if column.group == name)
            )
            for name in GROUPS
        ]


def _words(terms: Iterable[SortTerm]) -> str:
    return ",".join(term.word for term in terms)


def same_table(one: str, other: str) -> bool:
    """Whether two queries ask for the same, in whatever order."""
    return sorted(parse_qsl(one)) == sorted(parse_qsl(other))
