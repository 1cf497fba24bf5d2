"""What can be asked of the positions table: its filters, its order, its columns; and the name of a view of it."""

from datetime import datetime
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError

from advisors.forms import NameField, NumberField
from advisors.selectors import list_clients
from margin.selectors.columns import COLUMNS, Column, SortTerm, UnknownColumn, chosen_columns, parse_sort
from margin.selectors.position_table import MAX_CURSOR, list_offered
from margin.selectors.positions import PositionFilter
from margin.selectors.rows import venue_label
from portfolios.importing.cells import CellError, parse_text
from portfolios.selectors import list_tags

MAX_TAG = 40
STATES = ("liquidatable", "critical", "danger", "unknown", "stale", "watch", "ok")
STOPS = (("missing", "no stop"), ("behind", "stop behind liquidation, or not known"))
DENSITIES = ("dense", "normal", "roomy")
ANY = ("", "any")
FILTERS = (
    "state",
    "client",
    "portfolio",
    "venue",
    "coin",
    "side",
    "stop",
    "distance",
    "margin",
    "tag",
    "text",
)


def _can_be_tag(text: str) -> bool:
    try:
        return bool(parse_text(text, MAX_TAG))
    except CellError:
        return False


class WordsField(forms.MultipleChoiceField):
    """Several of a list, as `a,b` or each under the name again."""

    def to_python(self, value: Any) -> list[str]:
        return list(
            dict.fromkeys(word for part in super().to_python(value) for word in part.split(",") if word)
        )


class PositionFilterForm(forms.Form):
    """The positions table as an address says it, all optional; what is not known is refused, not ignored."""

    state = WordsField(
        choices=[(word, "OK" if word == "ok" else word) for word in STATES],
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    client = forms.ChoiceField(required=False)
    venue = forms.ChoiceField(required=False)
    coin = forms.ChoiceField(required=False)
    side = forms.ChoiceField(choices=[ANY, ("long", "long"), ("short", "short")], required=False)
    stop = WordsField(choices=STOPS, required=False, widget=forms.CheckboxSelectMultiple)
    distance = NumberField(required=False, widget=forms.TextInput(attrs={"inputmode": "decimal"}))
    margin = NumberField(required=False, widget=forms.TextInput(attrs={"inputmode": "decimal"}))
    tag = forms.ChoiceField(required=False)
    portfolio = forms.UUIDField(required=False)
    text = NameField(max_length=80, required=False)
    sort = forms.CharField(max_length=200, required=False)
    then = forms.ChoiceField(
        choices=[
            ANY,
            *(
                (f"{'-' * column.falls_first}{column.key}", f"{column.label}, {column.first_word} first")
                for column in COLUMNS
                if column.keys
            ),
        ],
        required=False,
    )
    columns = WordsField(choices=[(column.key, column.label) for column in COLUMNS], required=False)
    density = forms.ChoiceField(
        choices=[("", "dense"), *((word, word) for word in DENSITIES)], required=False
    )
    after = forms.CharField(max_length=MAX_CURSOR, required=False)

    def offer_choices(self, *, as_of: datetime | None, only_asked: bool = False) -> None:
        """What the positions in force can be filtered by; only_asked: where nobody chooses, for what is asked for."""

        def is_read(*names: str) -> bool:
            return not only_asked or any(name in self.data for name in names)

        if is_read("client"):
            clients = list_clients(as_of=as_of)
            self._offer("client", [(str(client.public_id), client.name) for client in clients])
        if is_read("venue", "coin"):
            there = list_offered(as_of=as_of)
            venues = there.venues | ({self.data.get("venue", "")} & there.listed_venues)
            assets = there.base_assets | ({self.data.get("coin", "")} & there.listed_assets)
            self._offer("venue", [(venue, venue_label(venue)) for venue in sorted(venues)])
            self._offer("coin", [(asset, asset) for asset in sorted(assets)])
        if is_read("tag"):
            self._offer("tag", [(tag, tag) for tag in self._tags()])

    def _offer(self, name: str, values: list[tuple[str, str]]) -> None:
        cast(forms.ChoiceField, self.fields[name]).choices = [ANY, *values]

    def _tags(self) -> list[str]:
        """Tags in force, and the one that is asked for: a page of the past may be about one that is no more."""
        asked = self.data.get("tag", "")
        return sorted({row.tag for row in list_tags()} | ({asked} if _can_be_tag(asked) else set()))

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        words = [word for word in (given.get("sort", ""), given.get("then", "")) if word]
        try:
            self.terms: tuple[SortTerm, ...] = parse_sort(",".join(words))
            self.shown: tuple[Column, ...] = chosen_columns(given.get("columns", []))
        except UnknownColumn as error:
            raise ValidationError("No such order of these columns.") from error
        return given

    def chosen(self) -> PositionFilter:
        given = self.cleaned_data
        return PositionFilter(
            states=tuple(given["state"]),
            venue=given["venue"],
            base_asset=given["coin"],
            tag=given["tag"],
            client_id=given["client"] or None,
            portfolio_id=given["portfolio"],
            side=given["side"],
            stops=tuple(given["stop"]),
            distance_below=None if given["distance"] is None else float(given["distance"] / 100),
            margin_from_dollars=None if given["margin"] is None else float(given["margin"]),
            text=given["text"],
        )

    @property
    def is_filtered(self) -> bool:
        return any(self.cleaned_data[name] not in (None, "", []) for name in FILTERS)

    @property
    def density_word(self) -> str:
        return self.cleaned_data["density"] or DENSITIES[0]


class SavedViewForm(forms.Form):
    """A name for what the table shows, and who else sees it."""

    name = NameField(max_length=60)
    query = forms.CharField(max_length=6_000, required=False, widget=forms.HiddenInput)
    is_team = forms.BooleanField(required=False)
    is_default = forms.BooleanField(required=False)
