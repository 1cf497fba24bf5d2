"""What the API reads and records of positions' events; margin.api mounts it, for it knows what a venue lets go."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from advisors.access import HasScope
from advisors.api import (
    DecimalText,
    Endpoint,
    Listing,
    ListQuery,
    NoQuery,
    StrictSerializer,
    answers,
    parse_query,
)
from advisors.tokens import MayRecord
from portfolios import selectors, services
from portfolios.fold import KINDS
from portfolios.importing import CellError
from portfolios.importing.cells import MAX_CELL, parse_decimal, parse_moment, parse_side, parse_text

MAX_ID, MAX_VERSION = 2**63 - 1, 2**31 - 1
POSITION = OpenApiParameter("public_id", UUID, OpenApiParameter.PATH)
CHANGED = OpenApiResponse(description="The position is at another version by now: look again, then repeat.")


class Changed(APIException):
    """Somebody recorded an event since the caller read the position."""

    status_code = status.HTTP_409_CONFLICT


class ReadField(serializers.Field[Any, Any, Any, Any]):
    """A value read by one of the readers of import cells, as strictly as in a file."""

    expected = "a text is expected"

    def __init__(self, parse: Callable[[str], Any], **options: Any) -> None:
        super().__init__(**options)
        self.parse = parse

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or len(data) > MAX_CELL:
            raise serializers.ValidationError(self.expected)
        try:
            return self.parse(data)
        except CellError as error:
            raise serializers.ValidationError(str(error)) from error

    def to_representation(self, value: Any) -> str:
        return str(value)


@extend_schema_field(
    {"anyOf": [{"type": "string", "pattern": r"^-?[0-9]{1,20}(\.[0-9]{1,18})?$"}, {"type": "number"}]}
)
class PlainDecimal(ReadField):
    """A number, as a JSON number or as a string of plain digits; never rounded."""

    expected = "a number, or a text of plain digits, is expected"

    def __init__(self, **options: Any) -> None:
        super().__init__(parse_decimal, **options)

    def to_internal_value(self, data: Any) -> Any:
        # The parser of bodies gives numbers as Decimal.
        return super().to_internal_value(f"{data:f}" if isinstance(data, Decimal) else data)


@extend_schema_field({"type": "string", "format": "date-time"})
class Moment(ReadField):
    def __init__(self, **options: Any) -> None:
        super().__init__(parse_moment, **options)


@extend_schema_field({"type": "string"})
class Line(ReadField):
    """One line of text."""

    def __init__(self, limit: int, **options: Any) -> None:
        super().__init__(lambda text: parse_text(text, limit), **options)


@extend_schema_field({"type": "string", "enum": ["long", "short"]})
class Side(ReadField):
    def __init__(self, **options: Any) -> None:
        super().__init__(parse_side, **options)


class EventSerializer(serializers.Serializer[Any]):
    """What happened to a position; replaced_by_seq names the event that corrected it or took it back."""

    seq = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=KINDS)
    effective_at = serializers.DateTimeField()
    recorded_at = serializers.DateTimeField()
    source = serializers.CharField()  # type: ignore[assignment]  # a field of ours, not the attribute of DRF's
    author = serializers.CharField(source="author_name", allow_null=True)
    quantity = DecimalText(allow_null=True)
    price = DecimalText(allow_null=True)
    amount = DecimalText(allow_null=True)
    leverage = DecimalText(allow_null=True)
    rate = DecimalText(allow_null=True)
    replaces_seq = serializers.IntegerField(allow_null=True)
    replaced_by_seq = serializers.IntegerField(allow_null=True)
    note = serializers.CharField()


class EventPageSerializer(serializers.Serializer[Any]):
    results = EventSerializer(many=True)
    next_cursor = serializers.CharField(allow_blank=True)


class PostedEventSerializer(StrictSerializer):
    """An event; which values it takes depends on its kind. funding and fee: amount is paid, minus is received."""

    kind = serializers.ChoiceField(choices=KINDS)
    expected_version = serializers.IntegerField(
        min_value=0,
        max_value=MAX_VERSION,
        help_text="The position's version as it was read. A call that is repeated is refused by it, not doubled.",
    )
    effective_at = Moment(
        required=False,
        allow_null=True,
        help_text="When it happened. Without it: now; of a correction: when the corrected one did.",
    )
    quantity = PlainDecimal(required=False, allow_null=True, help_text="In contracts.")
    price = PlainDecimal(required=False, allow_null=True)
    amount = PlainDecimal(required=False, allow_null=True, help_text="In the settlement asset.")
    leverage = PlainDecimal(required=False, allow_null=True)
    rate = PlainDecimal(required=False, allow_null=True, help_text="A fraction: 0.0001 is 0.01 %.")
    note = Line(500, required=False, default="")
    replaces_seq = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_ID,
        help_text="The event that this one corrects or, with kind voided, takes back.",
    )


class RecordedSerializer(serializers.Serializer[Any]):
    seq = serializers.IntegerField(help_text="The event's place in the firm's ledger.")
    version = serializers.IntegerField(help_text="The position's version with it.")


class PostedPositionSerializer(StrictSerializer):
    """A position as it is held at its venue already: nothing is ordered."""

    portfolio_id = serializers.UUIDField()
    venue = Line(32)
    account = Line(80, help_text="What the client calls the account at the venue.")
    symbol = Line(40)
    side = Side()
    quantity = PlainDecimal(help_text="In contracts.")
    entry_price = PlainDecimal()
    isolated_wallet = PlainDecimal(help_text="In the settlement asset, without unrealised P&L.")
    leverage = PlainDecimal(required=False, allow_null=True, default=None)
    stop_price = PlainDecimal(required=False, allow_null=True, default=None)
    opened_at = Moment(required=False, allow_null=True, default=None, help_text="Without it: now.")
    external_id = Line(80, required=False, default="", help_text="The venue's id; once an account.")
    note = Line(500, required=False, default="")


class OpenedSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    version = serializers.IntegerField()


class RecordingEndpoint(Endpoint):
    """Reads take any token or session that may; posts take a token that was made for writing."""

    def get_permissions(self) -> list[BasePermission]:
        return [MayRecord() if self.request.method == "POST" else HasScope()]


def _posted(request: Request, form: type[StrictSerializer]) -> dict[str, Any]:
    parse_query(request, NoQuery)
    if not isinstance(request.data, dict):
        raise serializers.ValidationError({"detail": "an object is expected"})
    body = form(data=request.data)
    body.is_valid(raise_exception=True)
    given: dict[str, Any] = body.validated_data
    return given


def _named(refusal: services.EventRefused) -> str:
    """What the caller of an opening calls the value: the stop is an event of its own."""
    if refusal.event is not None and refusal.event.kind == "stop_set":
        return "stop_price"
    names = {"price": "entry_price", "amount": "isolated_wallet", "effective_at": "opened_at"}
    return names.get(refusal.field, refusal.field)


class PositionEvents(RecordingEndpoint):
    """Who mounts it says how an event is recorded."""

    record: ClassVar[Callable[..., services.Recorded]]

    @extend_schema(
        operation_id="list_events",
        parameters=[POSITION, ListQuery],
        responses=answers(EventPageSerializer, missing=True),
    )
    def get(self, request: Request, public_id: UUID) -> Response:
        """What happened to a position, in the order in which it was recorded."""
        listing = Listing(request, ListQuery)
        try:
            rows = selectors.list_events_after(
                public_id, listing.place or 0, limit=listing.limit + 1, as_of=listing.given["as_of"]
            )
        except selectors.PositionNotFound as error:
            raise NotFound from error
        return listing.answer(EventSerializer, rows, lambda row: row.seq)

    @extend_schema(
        operation_id="record_event",
        parameters=[POSITION],
        request=PostedEventSerializer,
        responses={**answers(RecordedSerializer, status=201, missing=True), 409: CHANGED},
    )
    def post(self, request: Request, public_id: UUID) -> Response:
        """Record what happened to a position, correct an event or take one back, with a token for writing."""
        given = _posted(request, PostedEventSerializer)
        try:
            recorded = self.record(position=public_id, source="api", **given)
        except selectors.PositionNotFound as error:
            raise NotFound from error
        except services.PositionChanged as error:
            raise Changed({"expected_version": [f"the position is at version {error.version}"]}) from error
        except services.EventRefused as refusal:
            raise serializers.ValidationError({refusal.field: [refusal.message]}) from refusal
        return Response(RecordedSerializer(recorded).data, status=status.HTTP_201_CREATED)


class OpensPositions(RecordingEndpoint):
    """The part of the list of positions that adds to it."""

    @extend_schema(
        operation_id="open_position",
        request=PostedPositionSerializer,
        responses=answers(OpenedSerializer, status=201),
    )
    def post(self, request: Request) -> Response:
        """Record a position that is held at a venue, with a token for writing."""
        given = _posted(request, PostedPositionSerializer)
        place = {name: given.pop(name) for name in ("symbol", "external_id", "note")}
        portfolio = given.pop("portfolio_id")
        account = services.AccountName(venue=given.pop("venue"), label=given.pop("account"))
        opening = services.Opening(**given)
        try:
            opened = services.open_position(
                portfolio=portfolio, account=account, opening=opening, source="api", **place
            )
        except selectors.PortfolioNotFound as error:
            raise serializers.ValidationError({"portfolio_id": ["no such portfolio"]}) from error
        except selectors.AccountNotFound as error:
            message = "the client has no such account at this venue"
            raise serializers.ValidationError({"account": [message]}) from error
        except services.InstrumentNotFound as error:
            raise serializers.ValidationError({"symbol": [error.message]}) from error
        except services.PositionExists as error:
            message = "the account already has a position with this id"
            raise serializers.ValidationError({"external_id": [message]}) from error
        except services.EventRefused as refusal:
            raise serializers.ValidationError({_named(refusal): [refusal.message]}) from refusal
        answer = {"id": opened, "version": opening.places}
        return Response(OpenedSerializer(answer).data, status=status.HTTP_201_CREATED)


class BalanceSerializer(serializers.Serializer[Any]):
    """What of an account stands behind no position, as somebody last read it at the venue."""

    account_id = serializers.UUIDField()
    client_id = serializers.UUIDField()
    venue = serializers.CharField()
    account = serializers.CharField(source="account_label")
    asset = serializers.CharField()
    free_collateral = DecimalText()
    balance_at = serializers.DateTimeField(help_text="When it stood so at the venue.")
    recorded_at = serializers.DateTimeField()
    author = serializers.CharField(source="author_name", allow_null=True)
    source = serializers.CharField()  # type: ignore[assignment]  # a field of ours, not the attribute of DRF's


class BalancePageSerializer(serializers.Serializer[Any]):
    results = BalanceSerializer(many=True)
    next_cursor = serializers.CharField(allow_blank=True)


class BalanceQuery(ListQuery):
    client = serializers.UUIDField(required=False, default=None)


class PostedBalanceSerializer(StrictSerializer):
    """What stands free in an account, 0 or more; nothing is moved by it."""

    account_id = serializers.UUIDField()
    asset = Line(20, help_text="What contracts of the account's venue settle in.")
    free_collateral = PlainDecimal()
    balance_at = Moment(required=False, allow_null=True, default=None, help_text="Without it: now.")


class BalanceKeptSerializer(serializers.Serializer[Any]):
    balance_at = serializers.DateTimeField()
    in_force = serializers.BooleanField(
        help_text="Whether it is the account's newest; an older one is kept and changes nothing."
    )


class BalancesView(RecordingEndpoint):
    @extend_schema(
        operation_id="list_balances", parameters=[BalanceQuery], responses=answers(BalancePageSerializer)
    )
    def get(self, request: Request) -> Response:
        """The balance in force of each account and asset; an account that is not there has none that is known."""
        listing = Listing(request, BalanceQuery)
        place = None if listing.place is None else (UUID(listing.place[0]), listing.place[1])
        rows = selectors.list_balances_after(
            place,
            client_id=listing.given["client"],
            limit=listing.limit + 1,
            as_of=listing.given["as_of"],
        )
        return listing.answer(BalanceSerializer, rows, lambda row: [str(row.account_id), row.asset])

    @extend_schema(
        operation_id="record_balance",
        request=PostedBalanceSerializer,
        responses=answers(BalanceKeptSerializer, status=201),
    )
    def post(self, request: Request) -> Response:
        """Record what stands free in an account, with a token for writing."""
        given = _posted(request, PostedBalanceSerializer)
        try:
            kept = services.record_balance(account=given.pop("account_id"), source="api", **given)
        except selectors.AccountNotFound as error:
            raise serializers.ValidationError({"account_id": ["no such account"]}) from error
        except services.BalanceRefused as refusal:
            raise serializers.ValidationError({refusal.field: [refusal.message]}) from refusal
        return Response(BalanceKeptSerializer(kept).data, status=status.HTTP_201_CREATED)
