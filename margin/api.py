"""The API under /api/v1/: the same rows as the pages, decimals as strings, a page at a time."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from advisors.access import HasScope
from advisors.accounts import INGEST
from advisors.api import (
    DecimalText,
    Endpoint,
    Listing,
    ListQuery,
    MomentQuery,
    NoQuery,
    PositiveDecimal,
    StrictSerializer,
    ZonedTime,
    answers,
    parse_query,
)
from advisors.roles import Permission
from advisors.selectors import list_clients_after
from margin.engine.odds import HORIZONS_DAYS
from margin.selectors.marks import list_marks_after
from margin.selectors.positions import (
    STATE_RANKS,
    BadCursor,
    PositionFilter,
    PositionNotFound,
    get_position,
    list_positions,
)
from margin.services.intake import post_marks, post_refused_marks
from margin.services.mark_checks import MarkIn
from margin.services.removal import record_event
from portfolios.api import BalancesView, OpensPositions, PositionEvents
from portfolios.selectors import list_portfolios_after

MAX_MARKS = 1000
FUTURE_TOLERANCE = timedelta(seconds=5)


class ClientSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="public_id")
    name = serializers.CharField()
    reference = serializers.CharField()


class PortfolioSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="public_id")
    client_id = serializers.UUIDField()
    name = serializers.CharField()


class OddsSerializer(serializers.Serializer[Any]):
    """P(the mark touches the liquidation price) within a horizon: a model, not calibrated; null for an old mark."""

    def get_fields(self) -> dict[str, Any]:
        """By their horizons, which are no names that a class could have."""
        return {
            horizon: DecimalText(
                source=f"odds_{horizon}",
                allow_null=True,
                help_text=f"0 to 1, within {days:.3g} days, by the daily volatility of the mark: 2Φ(−z/√days) of "
                "distance_sigmas z; log-normal, no drift, rare events under-estimated.",
            )
            for horizon, days in HORIZONS_DAYS.items()
        }


class PositionSerializer(serializers.Serializer[Any]):
    """A position with its risk; null figures come with a reason."""

    id = serializers.UUIDField(source="public_id")
    external_id = serializers.CharField()
    client_id = serializers.UUIDField()
    portfolio_id = serializers.UUIDField()
    account = serializers.CharField(source="account_label")
    auto_margin = serializers.BooleanField(
        help_text="The venue tops the account's positions up: max_loss does not bound what can be lost."
    )
    venue = serializers.CharField()
    symbol = serializers.CharField()
    kind = serializers.CharField()
    side = serializers.CharField()
    settle_asset = serializers.CharField()
    quantity = DecimalText()
    contract_size = DecimalText()
    entry_price = DecimalText()
    isolated_wallet = DecimalText()
    leverage_set = DecimalText(source="leverage", allow_null=True)
    stop_price = DecimalText(allow_null=True)
    opened_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)
    version = serializers.IntegerField()
    state = serializers.ChoiceField(
        choices=[*STATE_RANKS, "closed"],
        help_text="watch, danger, critical: beyond the firm's level of maintenance used, or nearer to liquidation than "
        "its level in daily σ (in % where no σ is measured), whichever is worse; liquidatable: the venue may close it "
        "now; unknown: a figure is missing, see reason; stale: known once, no longer fresh.",
    )
    last_known_state = serializers.CharField(source="was", allow_null=True)
    reason = serializers.CharField(allow_null=True)
    mark_price = DecimalText(allow_null=True)
    mark_at = serializers.DateTimeField(allow_null=True)
    snapped = serializers.BooleanField(
        help_text="The mark is the last of its minute: single marks of that time are no longer kept."
    )
    computed_at = serializers.DateTimeField(allow_null=True)
    value = DecimalText(allow_null=True)
    unrealised_pnl = DecimalText(allow_null=True)
    equity = DecimalText(allow_null=True)
    maintenance_margin = DecimalText(allow_null=True)
    margin_ratio = DecimalText(
        allow_null=True, help_text="Maintenance margin incl. fee ÷ equity: 0 safe, 1 liquidated."
    )
    venue_margin_ratio = DecimalText(
        source="venue_ratio", allow_null=True, help_text="What the venue itself shows, in its own direction."
    )
    venue_margin_ratio_name = serializers.CharField(
        source="venue_ratio_name", help_text="The venue's own name of it; empty where no rule is known."
    )
    venue_margin_ratio_meaning = serializers.CharField(
        source="venue_ratio_meaning", help_text="What the venue divides by what."
    )
    liquidation_price = DecimalText(allow_null=True)
    liquidation_reason = serializers.CharField(allow_null=True)
    bankruptcy_price = DecimalText(allow_null=True)
    distance_ratio = DecimalText(
        allow_null=True, help_text="s·(mark − liquidation) ÷ mark, s = −1 for a short."
    )
    distance_sigmas = DecimalText(
        allow_null=True,
        help_text="s·ln(mark ÷ liquidation) ÷ daily_volatility: σ is one day's typical move of this mark.",
    )
    sigma_reason = serializers.CharField(allow_null=True, help_text="Why distance_sigmas is null.")
    daily_volatility = DecimalText(
        allow_null=True, help_text="Standard deviation of the log of the mark over a day; null: not measured."
    )
    odds = OddsSerializer(source="*")
    odds_reason = serializers.CharField(allow_null=True, help_text="Why the odds are null.")
    effective_leverage = DecimalText(allow_null=True)
    max_loss = DecimalText(allow_null=True)


class MarkSerializer(serializers.Serializer[Any]):
    venue = serializers.CharField()
    symbol = serializers.CharField()
    price = DecimalText()
    source = serializers.CharField()  # type: ignore[assignment]  # a field of ours, not the attribute of DRF's
    sequence = serializers.IntegerField()
    source_at = serializers.DateTimeField()
    received_at = serializers.DateTimeField()


class ClientPageSerializer(serializers.Serializer[Any]):
    results = ClientSerializer(many=True)
    next_cursor = serializers.CharField(allow_blank=True)


class PortfolioPageSerializer(serializers.Serializer[Any]):
    results = PortfolioSerializer(many=True)
    next_cursor = serializers.CharField(allow_blank=True)


class PositionPageSerializer(serializers.Serializer[Any]):
    results = PositionSerializer(many=True)
    next_cursor = serializers.CharField(allow_blank=True)


class MarkPageSerializer(serializers.Serializer[Any]):
    results = MarkSerializer(many=True)
    next_cursor = serializers.CharField(allow_blank=True)


class PortfolioQuery(ListQuery):
    client = serializers.UUIDField(required=False, default=None)


class PositionQuery(ListQuery):
    state = serializers.ChoiceField(choices=[*STATE_RANKS], required=False, default="")
    client = serializers.UUIDField(required=False, default=None)
    portfolio = serializers.UUIDField(required=False, default=None)
    venue = serializers.CharField(required=False, default="", max_length=32)
    coin = serializers.CharField(required=False, default="", max_length=20)


class MarkQuery(ListQuery):
    venue = serializers.CharField(required=False, default="", max_length=32)


class PostedMarkSerializer(StrictSerializer):
    """A mark of one instrument; sequence rises by one with each mark of it from a source."""

    venue = serializers.CharField(max_length=32)
    symbol = serializers.CharField(max_length=40)
    source = serializers.CharField(max_length=32)  # type: ignore[assignment]  # as above
    sequence = serializers.IntegerField(min_value=0, max_value=2**63 - 1)
    price = PositiveDecimal()
    low_price = PositiveDecimal(required=False, help_text="The lowest since the mark before; else price.")
    high_price = PositiveDecimal(required=False, help_text="The highest since the mark before; else price.")
    source_at = ZonedTime()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.setdefault("low_price", attrs["price"])
        attrs.setdefault("high_price", attrs["price"])
        if not attrs["low_price"] <= attrs["price"] <= attrs["high_price"]:
            raise serializers.ValidationError({"price": ["must lie between low_price and high_price"]})
        if attrs["source_at"] > timezone.now() + FUTURE_TOLERANCE:
            raise serializers.ValidationError({"source_at": ["lies in the future"]})
        return attrs


class PostedMarksSerializer(StrictSerializer):
    """Up to a thousand marks, taken together or not at all."""

    marks = PostedMarkSerializer(many=True, allow_empty=False, max_length=MAX_MARKS)  # type: ignore[call-arg]

    def to_internal_value(self, data: Any) -> Any:
        """Bad marks by their place in the list: an answer to a thousand does not go through the good ones."""
        try:
            return super().to_internal_value(data)
        except serializers.ValidationError as error:
            found: Any = error.detail
            bad = found.get("marks")
            if isinstance(bad, list) and any(isinstance(each, dict) for each in bad):
                by_place = {str(place): each for place, each in enumerate(bad) if each}
                raise serializers.ValidationError({**found, "marks": by_place}) from error
            raise


class PostedSerializer(serializers.Serializer[Any]):
    accepted = serializers.IntegerField(help_text="Marks written down, to be taken in within seconds.")
    unknown = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="Places of marks that were left out because no such instrument is listed.",
    )


class MayIngest(BasePermission):
    """Marks are read by every firm, so only an operator's feed may post them."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.auth == INGEST


class ClientsView(Endpoint):
    permission = Permission.VIEW_CLIENT_NAMES

    @extend_schema(
        operation_id="list_clients", parameters=[ListQuery], responses=answers(ClientPageSerializer)
    )
    def get(self, request: Request) -> Response:
        """The clients that the caller answers for, or reads as compliance or admin."""
        listing = Listing(request, ListQuery)
        after = None if listing.place is None else UUID(listing.place)
        rows = list_clients_after(after, limit=listing.limit + 1, as_of=listing.given["as_of"])
        return listing.answer(ClientSerializer, rows, lambda row: str(row.public_id))


class PortfoliosView(Endpoint):
    @extend_schema(
        operation_id="list_portfolios",
        parameters=[PortfolioQuery],
        responses=answers(PortfolioPageSerializer),
    )
    def get(self, request: Request) -> Response:
        """The portfolios of those clients."""
        listing = Listing(request, PortfolioQuery)
        after = None if listing.place is None else UUID(listing.place)
        rows = list_portfolios_after(
            after,
            client_id=listing.given["client"],
            limit=listing.limit + 1,
            as_of=listing.given["as_of"],
        )
        return listing.answer(PortfolioSerializer, rows, lambda row: str(row.public_id))


class PositionsView(OpensPositions):
    @extend_schema(
        operation_id="list_positions", parameters=[PositionQuery], responses=answers(PositionPageSerializer)
    )
    def get(self, request: Request) -> Response:
        """Open positions with their risk, worst first. Between two pages a position may change its place."""
        listing = Listing(request, PositionQuery)
        chosen = PositionFilter(
            state=listing.given["state"],
            client_id=listing.given["client"],
            portfolio_id=listing.given["portfolio"],
            venue=listing.given["venue"],
            base_asset=listing.given["coin"],
        )
        try:
            found = list_positions(
                chosen, limit=listing.limit, cursor=listing.place or "", as_of=listing.given["as_of"]
            )
        except BadCursor as error:
            raise listing.refuse_cursor() from error
        next_cursor = listing.seal(found.next_cursor) if found.next_cursor else ""
        return listing.answer_page(PositionSerializer, found.rows, next_cursor)


class PositionView(Endpoint):
    @extend_schema(
        operation_id="get_position",
        parameters=[OpenApiParameter("public_id", UUID, OpenApiParameter.PATH), MomentQuery],
        responses=answers(PositionSerializer, missing=True),
    )
    def get(self, request: Request, public_id: UUID) -> Response:
        """One position, open or closed; not found before it was first recorded."""
        moment = parse_query(request, MomentQuery)["as_of"]
        try:
            return Response(PositionSerializer(get_position(public_id, as_of=moment)).data)
        except PositionNotFound as error:
            raise NotFound from error


class PositionEventsView(PositionEvents):
    record = staticmethod(record_event)


class MarksView(Endpoint):
    def get_permissions(self) -> list[BasePermission]:
        return [MayIngest() if self.request.method == "POST" else HasScope()]

    @extend_schema(operation_id="list_marks", parameters=[MarkQuery], responses=answers(MarkPageSerializer))
    def get(self, request: Request) -> Response:
        """The newest mark of every instrument, or the newest that had been received by a moment."""
        listing = Listing(request, MarkQuery)
        after = None if listing.place is None else (listing.place[0], listing.place[1])
        rows = list_marks_after(
            after, venue=listing.given["venue"], limit=listing.limit + 1, as_of=listing.given["as_of"]
        )
        return listing.answer(MarkSerializer, rows, lambda row: [row.venue, row.symbol])

    @extend_schema(
        operation_id="post_marks",
        request=PostedMarksSerializer,
        responses=answers(PostedSerializer, status=202),
    )
    def post(self, request: Request) -> Response:
        """Post marks with an ingest token: all are written down before the answer, or none; bad ones are counted."""
        parse_query(request, NoQuery)
        if not isinstance(request.data, dict):
            raise serializers.ValidationError({"detail": "an object with marks is expected"})
        given = PostedMarksSerializer(data=request.data)
        if not given.is_valid():
            post_refused_marks(_list_bad(request.data, given.errors))
            return Response(given.errors, status=status.HTTP_400_BAD_REQUEST)
        posted = post_marks([MarkIn(**mark) for mark in given.validated_data["marks"]])
        return Response(PostedSerializer(posted).data, status=status.HTTP_202_ACCEPTED)


def _list_bad(data: dict[str, Any], errors: Any) -> list[Any]:
    """The marks that the errors name by their places."""
    named = errors.get("marks")
    places = [place for place in named if str(place).isdigit()] if isinstance(named, dict) else []
    return [data["marks"][int(place)] for place in places]


urlpatterns = [
    path("clients", ClientsView.as_view(), name="api_clients"),
    path("portfolios", PortfoliosView.as_view(), name="api_portfolios"),
    path("positions", PositionsView.as_view(), name="api_positions"),
    path("positions/<uuid:public_id>", PositionView.as_view(), name="api_position"),
    path("positions/<uuid:public_id>/events", PositionEventsView.as_view(), name="api_events"),
    path("balances", BalancesView.as_view(), name="api_balances"),
    path("marks", MarksView.as_view(), name="api_marks"),
]
