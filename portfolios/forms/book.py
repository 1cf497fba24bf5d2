"""Forms of portfolios and venue accounts."""

from collections.abc import Iterable
from typing import Any

from django import forms

from portfolios.forms.fields import LineField

LABEL_HELP = "What the client calls it; imports name accounts by it."
TOPPED_UP = (
    ("no", "Isolated: a position can lose what is set aside for it, and no more"),
    (
        "yes",
        "Not isolated: the venue tops positions up from the free balance (auto margin replenish)",
    ),
)


class PortfolioForm(forms.Form):
    name = LineField(120, label="Portfolio name")


class AccountLabelForm(forms.Form):
    label = LineField(80, label="Account", help_text=LABEL_HELP)
    auto_margin = forms.TypedChoiceField(
        label="Positions of this account",
        choices=TOPPED_UP,
        coerce=lambda word: word == "yes",
        required=False,
        empty_value=None,
        widget=forms.RadioSelect,
        help_text="As it is set at the venue. Where it tops up, no page says that a loss is bounded.",
    )


class AccountForm(AccountLabelForm):
    venue = forms.ChoiceField(label="Venue")
    field_order = ("venue", "label", "auto_margin")

    def __init__(self, *args: Any, venues: Iterable[str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["venue"].choices = [(venue, venue) for venue in venues]  # type: ignore[attr-defined]
