"""Forms of imports."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError


class ImportForm(forms.Form):
    file = forms.FileField(label="CSV file", allow_empty_file=True)

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > settings.IMPORT_MAX_BYTES:
            raise ValidationError(f"The file is larger than {settings.IMPORT_MAX_BYTES:,} bytes.")
        return file
