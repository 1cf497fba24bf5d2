"""Forms of positions and of what happens to them."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms

from portfolios.fold import RULES, SIGNED, VALUES
from portfolios.forms.fields import UTC_HELP, LineField, MomentField, NumberField
from portfolios.importing.cells import parse_leverage, parse_not_negative, parse_positive, parse_signed, plain
from portfolios.selectors import AccountRow, EventRow, HoldingRow

# Kind -> what it is called, and when it is the right one.
KINDS = {
    "margin_added": ("Margin added", "Margin was moved into the position's isolated wallet."),
    "margin_removed": ("Margin removed", "Margin was moved out of it."),
    "increased": ("Increased", "More of the same side was bought or sold."),
    "reduced": ("Reduced", "A part was closed; what is left stays open."),
    "closed": ("Closed", "Nothing is left open."),
    "stop_set": ("Stop set or lifted", "The price at which it is to be closed."),
    "leverage_set": ("Leverage set", "The venue's setting; the wallet stays as it is."),
    "funding": ("Funding", "Paid out of the wallet, or received into it."),
    "fee": ("Fee", "Charged to the wallet, or given back to it."),
    "adjusted": ("Adjusted to the venue", "The venue states another size, entry price or wallet."),
    "deleveraged": ("Deleveraged by the venue", "Auto-deleveraging (ADL) closed a part, or all."),
    "liquidated": ("Liquidated by the venue", "The venue closed it for want of margin."),
}
# Only ever in place of another event.
CORRECTING_KINDS = {
    "opened": ("Opened", "What the position began with."),
    "voided": ("Withdraw the event", "It never happened, and nothing stands in its place."),
}
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


# (kind, value) -> label and help, {quantity}, {quote} and {settle} being the position's units; None: of every kind.
WORDS: dict[tuple[str | None, str], tuple[str, str]] = {
    (None, "quantity"): ("Quantity, in {quantity}", ""),
    ("adjusted", "quantity"): ("Quantity the venue states, in {quantity}", "Empty: as it is."),
    ("deleveraged", "quantity"): ("Quantity, in {quantity}", "All that is open closes the position."),
    (None, "price"): ("Price of the trade, in {quote}", ""),
    ("opened", "price"): ("Entry price, in {quote}", ""),
    ("stop_set", "price"): ("Stop price, in {quote}", "Empty: the stop is lifted."),
    ("funding", "price"): ("Mark price of the payment, in {quote}", ""),
    ("adjusted", "price"): ("Entry price the venue states, in {quote}", "Empty: as it is."),
    ("opened", "amount"): ("Isolated wallet, in {settle}", "Without unrealised P&L."),
    ("margin_added", "amount"): ("Added to the wallet, in {settle}", ""),
    ("margin_removed", "amount"): (
        "Taken out of the wallet, in {settle}",
        "Now: no more than the venue lets go at the mark. For a removal that is past, give its time.",
    ),
    ("increased", "amount"): (
        "Added to the wallet with it, in {settle}",
        "0 where the wallet stayed as it was.",
    ),
    ("funding", "amount"): ("Paid out of the wallet, in {settle}; minus when received", ""),
    ("fee", "amount"): ("Paid out of the wallet, in {settle}; minus when received", ""),
    ("adjusted", "amount"): (
        "Isolated wallet the venue states, in {settle}",
        "Without unrealised P&L; minus for a debt. Empty: as it is.",
    ),
    (None, "leverage"): ("Leverage", "Such as 10 for 10x."),
    (None, "rate"): ("Funding rate, as a fraction", "0.0001 is 0.01 %; minus when the short pays."),
}
PARSERS = {"leverage": parse_leverage, "rate": parse_signed}


def _value_field(kind: str, name: str, position: HoldingRow) -> NumberField:
    label, help_text = WORDS.get((kind, name)) or WORDS[None, name]
    units = {
        "quantity": position.base_asset
        if position.kind == "linear" and position.contract_size == 1
        else "contracts",
        "quote": position.quote_asset,
        "settle": position.settle_asset,
    }
    parse = PARSERS.get(name, parse_positive)
    if (kind, name) in SIGNED:
        parse = parse_signed
    elif (kind, name) == ("increased", "amount"):
        parse = parse_not_negative
    return NumberField(
        parse, label=label.format(**units), help_text=help_text, required=name in RULES[kind].required
    )


class EventForm(forms.Form):
    """The values that one kind of event takes; with corrected, in place of that event."""

    def __init__(
        self, *args: Any, kind: str, position: HoldingRow, corrected: EventRow | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.initial = {"version": position.version, "kind": kind, **_values_of(kind, corrected)}
        self.corrected = corrected
        rule = RULES.get(kind)
        for name in VALUES:
            if rule is not None and name in (*rule.required, *rule.optional):
                self.fields[name] = _value_field(kind, name, position)
        if rule is not None:
            help_text = UTC_HELP if corrected is None else "In UTC. Empty: when the corrected one happened."
            self.fields["effective_at"] = MomentField(label="When", required=False, help_text=help_text)
        label = (
            "Note" if corrected is None else "Why it is withdrawn" if rule is None else "Why it is corrected"
        )
        self.fields["note"] = LineField(500, label=label, required=rule is None)
        self.fields["kind"] = forms.CharField(widget=forms.HiddenInput)
        if corrected is not None:
            self.initial["replaces"] = corrected.seq
            self.fields["replaces"] = forms.CharField(widget=forms.HiddenInput)
        self.fields["version"] = forms.IntegerField(
            required=False, min_value=0, max_value=2**31 - 1, widget=forms.HiddenInput
        )

    def clean(self) -> None:
        # Nobody sees what is wrong with a hidden field.
        if "version" in self.errors:
            self.add_error(None, "This form is damaged: open the page again.")
        for name in VALUES:
            if name not in self.fields and self.data.get(name, "").strip():
                self.add_error(None, f"This kind of event has no {name}.")

    def event(self) -> dict[str, Any]:
        """The arguments of the service."""
        given = {name: value for name, value in self.cleaned_data.items() if name != "replaces"}
        given["expected_version"] = given.pop("version")
        if self.corrected is None:
            return given
        # Shown to the second, the moment of the corrected event is meant to the microsecond.
        if given.get("effective_at") == self.corrected.effective_at.replace(microsecond=0):
            given["effective_at"] = None
        return {**given, "replaces_seq": self.corrected.seq}


def _values_of(kind: str, corrected: EventRow | None) -> dict[str, Any]:
    """What the form of a correction begins with."""
    if corrected is None or kind not in RULES:
        return {}
    values = {name: getattr(corrected, name) for name in VALUES}
    written = {name: plain(value) for name, value in values.items() if value is not None}
    return {**written, "effective_at": f"{corrected.effective_at:%Y-%m-%dT%H:%M:%S}", "note": ""}
