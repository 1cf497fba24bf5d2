"""What can be asked of the lists of margin."""

from django import forms

from margin.selectors.positions import STATE_RANKS, PositionFilter

SHOWN_STATES = ("liquidatable", "critical", "danger", "unknown", "watch", "ok")


class PositionFilterForm(forms.Form):
    """The filters of the positions list, all optional; what is not known is refused, not ignored."""

    state = forms.ChoiceField(
        choices=[("", "Any state"), *((word, word) for word in STATE_RANKS)], required=False
    )
    venue = forms.CharField(max_length=32, required=False)
    coin = forms.CharField(max_length=20, required=False)
    client = forms.UUIDField(required=False)
    portfolio = forms.UUIDField(required=False)
    after = forms.CharField(max_length=120, required=False)

    def chosen(self) -> PositionFilter:
        given = self.cleaned_data
        return PositionFilter(
            state=given["state"],
            venue=given["venue"],
            base_asset=given["coin"],
            client_id=given["client"],
            portfolio_id=given["portfolio"],
        )
