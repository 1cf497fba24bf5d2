"""The one box that is searched with."""

from django import forms

from portfolios.forms.fields import LineField

LONGEST, SHORTEST = 100, 2


class SearchForm(forms.Form):
    q = LineField(LONGEST, label="Name, reference, symbol, id or tag")

    @property
    def text(self) -> str:
        """What to look for; nothing while too little is typed."""
        text = " ".join(str(self.cleaned_data["q"]).split()) if self.is_valid() else ""
        return text if len(text) >= SHORTEST else ""
