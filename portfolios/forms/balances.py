"""The form in which an advisor says what stands free in an account."""

from collections.abc import Iterable
from typing import Any

from django import forms

from portfolios.forms.fields import UTC_HELP, MomentField, NumberField
from portfolios.importing.cells import parse_not_negative


class BalanceForm(forms.Form):
    asset = forms.ChoiceField(label="Asset", help_text="What contracts of this venue settle in.")
    free_collateral = NumberField(
        parse_not_negative,
        label="Free collateral",
        help_text="What stands in the account behind no position, as the venue shows it. 0 is a balance too.",
    )
    balance_at = MomentField(label="When it stood so", required=False, help_text=UTC_HELP)

    def __init__(self, *args: Any, assets: Iterable[str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["asset"].choices = [(asset, asset) for asset in assets]  # type: ignore[attr-defined]
