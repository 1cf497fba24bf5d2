"""What people type about clients and members: checked here, stored elsewhere."""

import re
import unicodedata
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from advisors.roles import Role
from advisors.terms import Term

PLAIN_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)

ROLE_CHOICES = [
    (Role.ADVISOR.value, "Advisor: sees the clients assigned to them"),
    (Role.COMPLIANCE.value, "Compliance: reads the whole firm, exports"),
    (Role.ADMIN.value, "Admin: manages people, sees no positions"),
]


class NameField(forms.CharField):
    """One line of text in normal form: control and direction-changing characters are refused, not dropped."""

    def to_python(self, value: object) -> str:
        text = unicodedata.normalize("NFC", super().to_python(value) or "").strip()
        if any(unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} for letter in text):
            raise ValidationError("Contains a character that cannot be shown.")
        return text


class ClientForm(forms.Form):
    name = NameField(max_length=120, label="Client name")
    reference = NameField(
        max_length=40,
        label="Reference",
        help_text="Your own short code for the client; imports name clients by it.",
    )


class MemberForm(forms.Form):
    name = NameField(max_length=120, label="Name")
    email = forms.EmailField(max_length=254, label="E-mail")
    role = forms.ChoiceField(choices=ROLE_CHOICES, label="Role")


class AssignmentForm(forms.Form):
    client = forms.UUIDField()
    member = forms.UUIDField()


class NumberField(forms.Field):
    """A plain number; nothing is rounded, guessed or read as another country writes it."""

    def to_python(self, value: object) -> Any:
        text = "" if value is None else str(value).strip()
        if not text:
            return None
        if not PLAIN_NUMBER.fullmatch(text):
            raise ValidationError("Write a plain number such as 2.5: no separators, no unit.")
        return Decimal(text)


class TermForm(forms.Form):
    """One term of a client's profile from a day on."""

    effective_from = forms.DateField(
        label="From",
        input_formats=["%Y-%m-%d"],
        help_text="The day it begins, in the firm's time zone. A day to come is kept until then.",
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )
    reason = NameField(
        max_length=500,
        label="Reason",
        help_text="Why, and what it rests on. It stays beside the term for good.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, term: Term, **options: Any) -> None:
        super().__init__(*args, **options)
        value: forms.Field
        if term.is_limit:
            value = NumberField(
                label=f"{term.label}, {term.bound}, in {term.unit}",
                required=False,
                help_text=f"{term.meaning} Empty lifts the limit.",
                widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
            )
        else:
            value = forms.ChoiceField(label=term.label, choices=term.choices, help_text=term.meaning)
        self.value_name = "limit" if term.is_limit else "choice"
        self.fields = {self.value_name: value, **self.fields}


class ExportForm(forms.Form):
    report = forms.ChoiceField(
        choices=[("positions", "Open positions with risk"), ("events", "Every position event")],
        initial="positions",
        label="What to export",
        widget=forms.RadioSelect,
    )
