"""What can be asked of the lists of margin."""

from typing import cast

from django import forms

from advisors.selectors import list_clients
from margin.selectors.overview import list_choices
from margin.selectors.positions import PositionFilter
from margin.selectors.rows import venue_label

STATES = ("liquidatable", "critical", "danger", "unknown", "stale", "watch", "ok")


class PositionFilterForm(forms.Form):
    """The filters of the positions list, all optional; what is not known is refused, not ignored."""

    state = forms.ChoiceField(choices=[("", "any"), *((word, word) for word in STATES)], required=False)
    client = forms.ChoiceField(required=False)
    venue = forms.ChoiceField(required=False)
    coin = forms.ChoiceField(required=False)
    portfolio = forms.UUIDField(required=False)
    after = forms.CharField(max_length=120, required=False)

    def offer_choices(self) -> None:
        """What the positions in force can be filtered by."""
        choices = list_choices()
        clients = [(str(client.public_id), client.name) for client in list_clients()]
        offered = {
            "client": clients,
            "venue": [(venue, venue_label(venue)) for venue in choices.venues],
            "coin": [(asset, asset) for asset in choices.base_assets],
        }
        for name, values in offered.items():
            cast(forms.ChoiceField, self.fields[name]).choices = [("", "any"), *values]

    def chosen(self) -> PositionFilter:
        given = self.cleaned_data
        return PositionFilter(
            state=given["state"],
            venue=given["venue"],
            base_asset=given["coin"],
            client_id=given["client"] or None,
            portfolio_id=given["portfolio"],
        )

    @property
    def is_filtered(self) -> bool:
        return any(self.cleaned_data[name] for name in ("state", "client", "venue", "coin", "portfolio"))
