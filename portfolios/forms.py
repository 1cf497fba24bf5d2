"""What people type about portfolios, accounts, positions and events: read as strictly as a file is."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from portfolios.importing import CellError
from portfolios.importing.cells import (
    MAX_CELL,
    parse_leverage,
    parse_not_negative,
    parse_positive,
    parse_text,
    parse_utc_moment,
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
UTC_HELP = "In UTC. Empty: now."


class ParsedField(forms.Field):
    """Text that one of the readers of import cells turns into a value."""

    widget = forms.TextInput

    def __init__(self, parse: Callable[[str], Any], **options: Any) -> None:
        super().__init__(**options)
        self.parse = parse

    def to_python(self, value: object) -> Any:
        text = "" if value is None else str(value)
        if not text.strip():
            return None
        if len(text) > MAX_CELL:
            raise ValidationError(f"Is longer than {MAX_CELL:,} characters.")
        try:
            return self.parse(text)
        except CellError as error:
            raise ValidationError(str(error)) from error


class NumberField(ParsedField):
    def __init__(self, parse: Callable[[str], Any] = parse_positive, **options: Any) -> None:
        attributes = {"inputmode": "decimal", "autocomplete": "off"}
        super().__init__(parse, widget=forms.TextInput(attrs=attributes), **options)


class LineField(ParsedField):
    """One line of text; nothing typed is an empty text."""

    def __init__(self, limit: int, **options: Any) -> None:
        super().__init__(partial(parse_text, limit=limit), **options)
        self.widget.attrs["maxlength"] = limit

    def to_python(self, value: object) -> str:
        return super().to_python(value) or ""


class MomentField(ParsedField):
    """A moment in UTC, as the label says, unless an offset is given with it."""

    def __init__(self, **options: Any) -> None:
        widget = forms.TextInput(attrs={"type": "datetime-local", "step": "1"})
        super().__init__(parse_utc_moment, widget=widget, **options)


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


class ImportForm(forms.Form):
    file = forms.FileField(label="CSV file", allow_empty_file=True)

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > settings.IMPORT_MAX_BYTES:
            raise ValidationError(f"The file is larger than {settings.IMPORT_MAX_BYTES:,} bytes.")
        return file
