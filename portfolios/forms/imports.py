"""Forms of imports: the file, and what its columns mean."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from portfolios.fold import RULES
from portfolios.forms.fields import LineField
from portfolios.importing import COLUMNS_BY_KIND, Reading, check_reading, guess

KINDS = {"positions": "Positions", "events": "Events of positions", "clients": "Clients"}
OWN_OFFSET = "each"
# Ids and places that our own exports have, and those need no mapping.
OWN = {"position_id", "seq"}
# What names a position or its wallet, where the file has no id of ours.
NEEDED = {
    **dict.fromkeys(("client", "venue", "account", "external_id"), "needed"),
    **dict.fromkeys(("isolated_wallet", "isolated_margin_incl_upnl"), "one of the two"),
}


class ImportForm(forms.Form):
    file = forms.FileField(label="CSV or XLSX file", allow_empty_file=True)

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > settings.IMPORT_MAX_BYTES:
            raise ValidationError(f"The file is larger than {settings.IMPORT_MAX_BYTES:,} bytes.")
        return file


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """One of our columns, where it comes from in the file, or what it is on every row."""

    name: str
    hint: str
    need: str
    source: forms.BoundField
    value: forms.BoundField


@cache
def _zones() -> tuple[str, ...]:
    return tuple(sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC"))


def _zone_choices(firm_zone: str) -> list[tuple[str, str]]:
    """Nothing is chosen to begin with; the firm's own zone is offered first."""
    return [
        ("", "Choose…"),
        (OWN_OFFSET, "Every time carries its offset"),
        (firm_zone, f"{firm_zone}, the firm's"),
        *((zone, zone) for zone in _zones() if zone != firm_zone),
    ]


class ColumnsForm(forms.Form):
    """What the columns of a file mean: none of it is guessed where a guess could be wrong without anybody noticing."""

    def __init__(
        self,
        *args: Any,
        header: tuple[str, ...],
        kind: str,
        venues: Iterable[str],
        firm_zone: str,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.header, self.kind = header, kind
        self.initial = {_source(ours): name for ours, name in guess(header, kind).items()}
        self.columns = {name: rule for name, rule in COLUMNS_BY_KIND[kind].items() if name not in OWN}
        known = {"venue": list(venues), "side": ["long", "short"], "event": list(RULES)}
        columns = [("", "not in the file"), *((name, name) for name in header)]
        for ours in self.columns:
            self.fields[_source(ours)] = forms.ChoiceField(
                choices=columns, required=False, widget=_select(f"{ours}: column of the file")
            )
            self.fields[_value(ours)] = _value_field(ours, known.get(ours, []))
        if kind != "clients":
            self.fields["time_zone"] = forms.ChoiceField(
                choices=_zone_choices(firm_zone),
                label="Times without an offset are in",
            )
            self.fields["decimal_mark"] = forms.ChoiceField(
                choices=[(".", "a point: 1234.56"), (",", "a comma: 1234,56")],
                widget=forms.RadioSelect,
                label="Decimals are written with",
            )
        self.fields["profile_name"] = LineField(
            80,
            required=False,
            label="Remember this as",
            help_text="A name for this kind of file; the firm's next file with the same header is read like this one. "
            "Of what is the same on every row only venue, symbol, side and event are remembered: whose it is stays "
            "with this file and is asked again.",
        )

    def rows(self) -> Iterator[ColumnRow]:
        for ours, rule in self.columns.items():
            need = "needed" if rule.in_every_file else NEEDED.get(ours, "")
            yield ColumnRow(ours, rule.hint, need, self[_source(ours)], self[_value(ours)])

    def choices(self) -> list[forms.BoundField]:
        """What is asked beside the columns."""
        return [self[name] for name in ("time_zone", "decimal_mark", "profile_name") if name in self.fields]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        for ours in self.columns:
            if given.get(_source(ours)) and given.get(_value(ours)):
                self.add_error(_value(ours), "Choose a column of the file or a value, not both.")
        if not self.errors:
            self._check(self.reading())
        return given

    def _check(self, reading: Reading) -> None:
        for problem in check_reading(self.header, reading).listed:
            field = _source(problem.column)
            if field in self.fields:
                self.add_error(field, problem.message)
            else:
                self.add_error(
                    None, f"{problem.column}: {problem.message}" if problem.column else problem.message
                )

    def reading(self) -> Reading:
        given = self.cleaned_data
        zone = given.get("time_zone", "")
        return Reading(
            kind=self.kind,
            mapping={ours: given[_source(ours)] for ours in self.columns if given.get(_source(ours))},
            constants={ours: given[_value(ours)] for ours in self.columns if given.get(_value(ours))},
            time_zone="" if zone == OWN_OFFSET else zone,
            decimal_mark=given.get("decimal_mark", "."),
        )


def _source(ours: str) -> str:
    return f"from_{ours}"


def _value(ours: str) -> str:
    return f"each_{ours}"


def _select(label: str) -> forms.Select:
    return forms.Select(attrs={"aria-label": label, "class": "small-select"})


def _value_field(ours: str, known: list[str]) -> forms.Field:
    label = f"{ours}: the same on every row"
    if known:
        choices = [("", "–"), *((value, value) for value in known)]
        return forms.ChoiceField(choices=choices, required=False, widget=_select(label))
    field = LineField(500, required=False)
    field.widget.attrs |= {"aria-label": label, "class": "small-select"}
    return field
