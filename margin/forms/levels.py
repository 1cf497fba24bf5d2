"""What can be asked of the lists of days and tiers, and the levels as a person writes them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.http import QueryDict

from advisors.forms import NameField, NumberField
from margin.engine.states import LEVEL_NAMES, Thresholds, find_faults, write_levels
from portfolios.importing import plain

HUNDRED = Decimal(100)


class DaysForm(forms.Form):
    """Which sealed days to list: those before one."""

    before = forms.DateField(required=False, input_formats=["%Y-%m-%d"])


MEASURE_LABELS = {
    "ratio": "maintenance used in %",
    "sigmas": "distance in daily σ",
    "distance": "distance in % without σ",
}


class LevelsForm(forms.Form):
    """Nine levels as a person writes them, why, and which levels they were looked at beside."""

    reason = NameField(
        max_length=500,
        required=False,
        help_text="Why, and what it rests on. It stays beside the levels for good.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, sent: QueryDict | None = None, *, current: Thresholds) -> None:
        super().__init__(
            sent, initial={name: _as_written(name, getattr(current, name)) for name in LEVEL_NAMES}
        )
        for name in LEVEL_NAMES:
            grade, _, measure = name.partition("_")
            label = f"{grade.capitalize()}, {MEASURE_LABELS[measure]}"
            attributes = {"inputmode": "decimal", "autocomplete": "off", "aria-label": label}
            self.fields[name] = NumberField(label=label, widget=forms.TextInput(attrs=attributes))

    @property
    def replaces(self) -> datetime | None:
        """The moment of the levels that the form was made beside; what is none is one that no levels have."""
        text = self.data.get("replaces")
        try:
            return datetime.fromisoformat(text) if text else None
        except ValueError:
            return datetime.min.replace(tzinfo=UTC)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        levels = {name: _as_level(name, given[name]) for name in LEVEL_NAMES if name in given}
        for name, fault in find_faults(levels).items():
            self.add_error(name, fault)
        return given

    def thresholds(self) -> Thresholds:
        return Thresholds(**{name: _as_level(name, self.cleaned_data[name]) for name in LEVEL_NAMES})

    @property
    def level_names(self) -> tuple[str, ...]:
        return LEVEL_NAMES

    @property
    def numbers(self) -> str:
        """What a preview was of."""
        return " ".join(plain(self.cleaned_data[name]) for name in LEVEL_NAMES)

    @property
    def is_previewed(self) -> bool:
        """The page writes what it is of: whatever else is sent is of other numbers, however long or odd."""
        return bool(self.data.get("previewed") == self.numbers)

    def rows(self, current: Thresholds) -> list[tuple[str, list[tuple[forms.BoundField, str]]]]:
        """Of each state its fields, each with the level in force."""
        return [
            (
                written.word,
                [
                    (self[f"{written.word}_{measure}"], getattr(written, measure))
                    for measure in MEASURE_LABELS
                ],
            )
            for written in write_levels(current)
        ]


def _scale(name: str) -> Decimal:
    return Decimal(1) if name.endswith("_sigmas") else HUNDRED


def _as_level(name: str, number: Decimal) -> float:
    return float(number / _scale(name))


def _as_written(name: str, level: float) -> str:
    return plain(Decimal(repr(level)) * _scale(name))


class TiersForm(forms.Form):
    """Which margin tables to list: those that positions in force stand on, or all."""

    show = forms.ChoiceField(
        choices=[("", "with positions of mine"), ("all", "all that are known")], required=False
    )


class TierVersionForm(forms.Form):
    """Which version of a margin table to show."""

    version = forms.IntegerField(min_value=1, max_value=1_000_000, required=False)
