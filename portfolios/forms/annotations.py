"""The form of what is thought of a position."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from portfolios.importing import CellError
from portfolios.importing.cells import MAX_CELL
from portfolios.selectors.annotations import CONVICTIONS
from portfolios.services.annotations import MAX_NOTE, MAX_TAG, MAX_TAGS, parse_note, parse_tags

NOT_SAID = ("", "Not said")


class TagsField(forms.Field):
    """Tags between commas."""

    def to_python(self, value: object) -> list[str]:
        text = "" if value is None else str(value)
        if len(text) > MAX_CELL:
            raise ValidationError(f"Is longer than {MAX_CELL:,} characters.")
        try:
            return parse_tags(text.split(","))
        except CellError as error:
            raise ValidationError(str(error)) from error

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else ", ".join(value or ())


class NoteField(forms.Field):
    widget = forms.Textarea

    def to_python(self, value: object) -> str:
        try:
            return parse_note("" if value is None else str(value))
        except CellError as error:
            raise ValidationError(str(error)) from error


class AnnotationForm(forms.Form):
    tags = TagsField(
        label="Tags",
        required=False,
        help_text=f"Up to {MAX_TAGS} of at most {MAX_TAG} characters, with commas between them.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    conviction = forms.TypedChoiceField(
        label="Conviction",
        required=False,
        coerce=int,
        empty_value=None,
        choices=[NOT_SAID, *((number, f"{number} {word}") for number, word in CONVICTIONS.items())],
        help_text="How sure you are of the idea behind the position.",
    )
    note = NoteField(
        label="Note",
        required=False,
        help_text="Kept for good with your name and the time; a new one does not replace those before.",
        widget=forms.Textarea(attrs={"rows": 5, "maxlength": MAX_NOTE}),
    )
