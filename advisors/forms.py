"""What people type about clients and members: checked here, stored elsewhere."""

import unicodedata

from django import forms
from django.core.exceptions import ValidationError

from advisors.roles import Role

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


class ExportForm(forms.Form):
    report = forms.ChoiceField(
        choices=[("positions", "Open positions with risk"), ("events", "Every position event")],
        initial="positions",
        label="What to export",
        widget=forms.RadioSelect,
    )
