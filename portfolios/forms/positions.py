"""Forms of positions and of what happens to them."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms

from portfolios.forms.fields import UTC_HELP, LineField, MomentField, NumberField
from portfolios.importing.cells import (
    parse_leverage,
    parse_not_negative,
)
from portfolios.selectors import AccountRow

KINDS = [
    ("margin_added", "Margin added"),
    ("margin_removed", "Margin removed"),
    ("increased", "Increased"),
    ("reduced", "Reduced"),
    ("stop_set", "Stop set or lifted"),
    ("closed", "Closed"),
    ("liquidated", "Liquidated by the venue"),
]
SIDES = [("long", "Long"), ("short", "Short")]


class PositionForm(forms.Form):
    account = forms.TypedChoiceField(label="Venue account", coerce=UUID)
    symbol = LineField(40, label="Symbol", help_text="As the venue writes it, such as BTCUSDT.")
    side = forms.ChoiceField(label="Side", choices=SIDES)
    quantity = NumberField(
        label="Quantity", help_text="In contracts; on most linear venues one contract is one coin."
    )
    entry_price = NumberField(label="Entry price")
    isolated_wallet = NumberField(
        label="Isolated wallet",
        help_text="Margin in the position's box, without unrealised P&L, in the settle asset.",
    )
    leverage = NumberField(parse_leverage, label="Leverage", required=False)
    stop_price = NumberField(label="Stop price", required=False)
    opened_at = MomentField(label="Opened at", required=False, help_text=UTC_HELP)
    external_id = LineField(
        80, label="The venue's id", required=False, help_text="By which an import knows this position again."
    )
    note = LineField(500, label="Note", required=False)

    def __init__(self, *args: Any, accounts: Iterable[AccountRow], **options: Any) -> None:
        super().__init__(*args, **options)
        choices = [(str(account.public_id), f"{account.label} · {account.venue}") for account in accounts]
        self.fields["account"].choices = choices  # type: ignore[attr-defined]


class EventForm(forms.Form):
    """Which values an event needs is the fold's to say: it knows the position."""

    kind = forms.ChoiceField(label="What happened", choices=KINDS)
    quantity = NumberField(label="Quantity", required=False, help_text="Increased, reduced: in contracts.")
    price = NumberField(
        label="Price",
        required=False,
        help_text="Of the trade, or of the stop; a stop without a price is lifted.",
    )
    amount = NumberField(
        parse_not_negative,
        label="Margin",
        required=False,
        help_text="Added or removed; when increased, what went into the wallet with it.",
    )
    effective_at = MomentField(label="When", required=False, help_text=UTC_HELP)
    note = LineField(500, label="Note", required=False)
    version = forms.IntegerField(required=False, min_value=0, max_value=2**31 - 1, widget=forms.HiddenInput)

    def clean(self) -> None:
        # Nobody sees what is wrong with a hidden field.
        if "version" in self.errors:
            self.add_error(None, "This form is damaged: open the page again.")
