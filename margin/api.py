"""The API under /api/v1/: the same rows as the pages, decimals as strings, a page at a time."""

from datetime import timedelta
from decimal import Decimal
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

from advisors.roles import Permission
from advisors.selectors import list_clients
from advisors.tokens import INGEST
from margin.selectors.marks import list_marks
from margin.selectors.positions import (
    STATE_RANKS,
    BadCursor,
    PositionFilter,
    PositionNotFound,
    get_position,
    list_positions,
)
from margin.services.intake import PostedMark, post_marks
from portfolios.selectors import list_portfolios

MAX_ROWS = 500
FUTURE_TOLERANCE = timedelta(seconds=5)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields it does not know: a misspelt filter must not return everything."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = set(self.initial_data) - set(self.fields)
        if unknown:
            raise serializers.ValidationError({name: "unknown" for name in sorted(unknown)})
        return attrs


class DecimalText(serializers.Field[Any, Any, Any, Any]):
    """A number as a string of plain digits; in: a JSON number or such a string."""

    def to_representation(self, value: Any) -> str:
        return f"{value:f}" if isinstance(value, Decimal) else repr(value)

    def to_internal_value(self, data: Any) -> Decimal:
        text = f"{data:f}" if isinstance(data, Decimal) else data
        plain = (
            isinstance(text, str)
            and text.isascii()
            and text.replace(".", "", 1).isdigit()
            and len(text) <= 40
        )
        if not plain:
            raise serializers.ValidationError("a plain decimal number is expected")
        value = Decimal(text)
        if not 0 < value < 10**18 or value != value.quantize(Decimal(1).scaleb(-18)):
            raise serializers.ValidationError("must be positive, below 10^18, with at most 18 decimals")
        return value


class ClientSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="public_id")
    name = serializers.CharField()
    reference = serializers.CharField()


class PortfolioSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="public_id")
    client_id = serializers.UUIDField()
    name = serializers.CharField()


class PositionSerializer(serializers.Serializer[Any]):
    """A position with its risk; null figures come with a reason."""

    id = serializers.UUIDField(source="public_id")
    external_id = serializers.CharField()
    client_id = serializers.UUIDField()
    portfolio_id = serializers.UUIDField()
    account = serializers.CharField(source="account_label")
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
    state = serializers.ChoiceField(choices=[*STATE_RANKS])
    last_known_state = serializers.CharField(source="was", allow_null=True)
    reason = serializers.CharField(allow_null=True)
    mark_price = DecimalText(allow_null=True)
    mark_at = serializers.DateTimeField(allow_null=True)
    computed_at = serializers.DateTimeField(allow_null=True)
    value = DecimalText(allow_null=True)
    unrealised_pnl = DecimalText(allow_null=True)
    equity = DecimalText(allow_null=True)
    maintenance_margin = DecimalText(allow_null=True)
    margin_ratio = DecimalText(allow_null=True)
    liquidation_price = DecimalText(allow_null=True)
    liquidation_reason = serializers.CharField(allow_null=True)
    bankruptcy_price = DecimalText(allow_null=True)
    distance_ratio = DecimalText(allow_null=True)
    effective_leverage = DecimalText(allow_null=True)
    max_loss = DecimalText(allow_null=True)


class PositionPageSerializer(serializers.Serializer[Any]):
    results = PositionSerializer(many=True, source="rows")
    next_cursor = serializers.CharField(allow_blank=True)


class PositionQuery(StrictSerializer):
    state = serializers.ChoiceField(choices=[*STATE_RANKS], required=False, default="")
    client = serializers.UUIDField(required=False, default=None)
    portfolio = serializers.UUIDField(required=False, default=None)
    venue = serializers.CharField(required=False, default="", max_length=32)
    coin = serializers.CharField(required=False, default="", max_length=20)
    limit = serializers.IntegerField(required=False, default=100, min_value=1, max_value=MAX_ROWS)
    cursor = serializers.CharField(required=False, default="", max_length=120)


class MarkSerializer(serializers.Serializer[Any]):
    venue = serializers.CharField()
    symbol = serializers.CharField()
    price = DecimalText()
    source = serializers.CharField()
    sequence = serializers.IntegerField()
    source_at = serializers.DateTimeField()


class PostedMarkSerializer(serializers.Serializer[Any]):
    venue = serializers.CharField(max_length=32)
    symbol = serializers.CharField(max_length=40)
    source = serializers.CharField(max_length=32)
    sequence = serializers.IntegerField(min_value=0, max_value=2**63 - 1)
    price = DecimalText()
    low_price = DecimalText(required=False)
    high_price = DecimalText(required=False)
    source_at = serializers.DateTimeField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.setdefault("low_price", attrs["price"])
        attrs.setdefault("high_price", attrs["price"])
        if not attrs["low_price"] <= attrs["price"] <= attrs["high_price"]:
            raise serializers.ValidationError({"price": "must lie between low_price and high_price"})
        if attrs["source_at"] > timezone.now() + FUTURE_TOLERANCE:
            raise serializers.ValidationError({"source_at": "lies in the future"})
        return attrs


class PostedMarksSerializer(StrictSerializer):
    marks = PostedMarkSerializer(many=True, allow_empty=False, max_length=1000)


class AcceptedSerializer(serializers.Serializer[Any]):
    accepted = serializers.IntegerField()


class MayIngest(BasePermission):
    """Marks are read by every firm, so only an operator's feed may post them."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.auth == INGEST


class ClientsView(APIView):
    permission = Permission.VIEW_CLIENT_NAMES

    @extend_schema(responses=ClientSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The clients in force for the token's member."""
        return Response(ClientSerializer(list_clients(), many=True).data)


class PortfoliosView(APIView):
    permission = Permission.VIEW_RISK

    @extend_schema(responses=PortfolioSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The portfolios of those clients."""
        return Response(PortfolioSerializer(list_portfolios(), many=True).data)


class PositionsView(APIView):
    permission = Permission.VIEW_RISK

    @extend_schema(parameters=[PositionQuery], responses=PositionPageSerializer)
    def get(self, request: Request) -> Response:
        """Open positions with their risk, worst first."""
        query = PositionQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        given = query.validated_data
        chosen = PositionFilter(
            state=given["state"],
            client_id=given["client"],
            portfolio_id=given["portfolio"],
            venue=given["venue"],
            base_asset=given["coin"],
        )
        try:
            found = list_positions(chosen, limit=given["limit"], cursor=given["cursor"])
        except BadCursor as error:
            raise serializers.ValidationError({"cursor": "not a cursor of this list"}) from error
        return Response(PositionPageSerializer(found).data)


class PositionView(APIView):
    permission = Permission.VIEW_RISK

    @extend_schema(
        parameters=[OpenApiParameter("public_id", UUID, OpenApiParameter.PATH)], responses=PositionSerializer
    )
    def get(self, request: Request, public_id: UUID) -> Response:
        """One position, open or closed."""
        try:
            return Response(PositionSerializer(get_position(public_id)).data)
        except PositionNotFound as error:
            raise NotFound from error


class MarksView(APIView):
    permission = Permission.VIEW_RISK

    def get_permissions(self) -> list[Any]:
        return [MayIngest()] if self.request.method == "POST" else super().get_permissions()

    @extend_schema(responses=MarkSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The newest mark of every instrument."""
        return Response(MarkSerializer(list_marks(), many=True).data)

    @extend_schema(request=PostedMarksSerializer, responses={202: AcceptedSerializer})
    def post(self, request: Request) -> Response:
        """Post marks with an ingest token: stored before the answer, taken in by the worker within seconds."""
        if not isinstance(request.data, dict):
            raise serializers.ValidationError("an object with marks is expected")
        posted = PostedMarksSerializer(data=request.data)
        posted.is_valid(raise_exception=True)
        accepted = post_marks([PostedMark(**mark) for mark in posted.validated_data["marks"]])
        return Response({"accepted": accepted}, status=status.HTTP_202_ACCEPTED)


urlpatterns = [
    path("clients", ClientsView.as_view(), name="api_clients"),
    path("portfolios", PortfoliosView.as_view(), name="api_portfolios"),
    path("positions", PositionsView.as_view(), name="api_positions"),
    path("positions/<uuid:public_id>", PositionView.as_view(), name="api_position"),
    path("marks", MarksView.as_view(), name="api_marks"),
]
