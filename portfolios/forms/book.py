"""Forms of portfolios and venue accounts."""

from collections.abc import Iterable
from typing import Any

from django import forms

from portfolios.forms.fields import LineField


class PortfolioForm(forms.Form):
    name = LineField(120, label="Portfolio name")


class AccountForm(forms.Form):
    venue = forms.ChoiceField(label="Venue")
    label = LineField(80, label="Account", help_text="What the client calls it; imports name accounts by it.")

    def __init__(self, *args: Any, venues: Iterable[str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["venue"].choices = [(venue, venue) for venue in venues]  # type: ignore[attr-defined]


class AccountLabelForm(forms.Form):
    label = LineField(80, label="Account", help_text="What the client calls it; imports name accounts by it.")
