"""Fields of forms, each read by one of the readers of import cells."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from portfolios.importing import CellError
from portfolios.importing.cells import (
    MAX_CELL,
    parse_positive,
    parse_text,
    parse_utc_moment,
)

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
