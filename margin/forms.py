"""What can be asked of the lists of margin."""

from datetime import datetime
from typing import cast

from django import forms

from advisors.selectors import list_clients
from margin.selectors.overview import list_choices
from margin.selectors.positions import PositionFilter
from margin.selectors.rows import venue_label
from portfolios.importing.cells import CellError, parse_text
from portfolios.selectors import list_tags

MAX_TAG = 40
STATES = ("liquidatable", "critical", "danger", "unknown", "stale", "watch", "ok")


def _can_be_tag(text: str) -> bool:
    try:
        return bool(parse_text(text, MAX_TAG))
    except CellError:
        return False


class PositionFilterForm(forms.Form):
    """The filters of the positions list, all optional; what is not known is refused, not ignored."""

    state = forms.ChoiceField(choices=[("", "any"), *((word, word) for word in STATES)], required=False)
    client = forms.ChoiceField(required=False)
    venue = forms.ChoiceField(required=False)
    coin = forms.ChoiceField(required=False)
    tag = forms.ChoiceField(required=False)
    portfolio = forms.UUIDField(required=False)
    after = forms.CharField(max_length=120, required=False)

    def offer_choices(self, *, as_of: datetime | None) -> None:
        """What the positions in force can be filtered by."""
        choices = list_choices(as_of=as_of)
        clients = [(str(client.public_id), client.name) for client in list_clients(as_of=as_of)]
        offered = {
            "client": clients,
            "venue": [(venue, venue_label(venue)) for venue in choices.venues],
            "coin": [(asset, asset) for asset in choices.base_assets],
            "tag": [(tag, tag) for tag in self._tags()],
        }
        for name, values in offered.items():
            cast(forms.ChoiceField, self.fields[name]).choices = [("", "any"), *values]

    def _tags(self) -> list[str]:
        """Tags in force, and the one that is asked for: a page of the past may be about one that is no more."""
        asked = self.data.get("tag", "")
        return sorted({row.tag for row in list_tags()} | ({asked} if _can_be_tag(asked) else set()))

    def chosen(self) -> PositionFilter:
        given = self.cleaned_data
        return PositionFilter(
            state=given["state"],
            venue=given["venue"],
            base_asset=given["coin"],
            tag=given["tag"],
            client_id=given["client"] or None,
            portfolio_id=given["portfolio"],
        )

    @property
    def is_filtered(self) -> bool:
        return any(
            self.cleaned_data[name] for name in ("state", "client", "venue", "coin", "tag", "portfolio")
        )


class DaysForm(forms.Form):
    """Which sealed days to list: those before one."""

    before = forms.DateField(required=False, input_formats=["%Y-%m-%d"])
