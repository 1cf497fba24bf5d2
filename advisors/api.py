"""What every part of the API shares: who may call, how a query is read, how numbers are written, how lists go on."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.signing import BadSignature, Signer
from drf_spectacular.utils import OpenApiResponse, extend_schema_field
from rest_framework import serializers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from advisors.access import member_scope
from advisors.exports import plain_float
from advisors.moment import BadMoment, read_moment
from advisors.roles import Permission
from advisors.tokens import AUTHENTICATION

MAX_ROWS = 500
MAX_DECIMALS = 18
PLAIN_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,21})?")
REFUSALS = {
    400: "Something of the call is not understood; the answer names it.",
    401: "No token, or one that is unknown, expired or revoked.",
    403: "The token's member or purpose may not do this.",
    404: "Nothing of this id within the token's reach.",
}


def answers(found: Any, *, status: int = 200, missing: bool = False) -> dict[int, Any]:
    """For the description of the API: what comes back, and the refusals that may."""
    refusals = {
        code: OpenApiResponse(description=why) for code, why in REFUSALS.items() if code != 404 or missing
    }
    return {status: found, **refusals}


class AlwaysJSON(DefaultContentNegotiation):
    """The API answers in one way: whatever a caller says it accepts, and whatever garbage it says it with."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class Endpoint(APIView):
    """A view of the API; a subclass says which permission it takes."""

    content_negotiation_class = AlwaysJSON
    authentication_classes = AUTHENTICATION
    http_method_names = ["get", "head", "post"]
    permission = Permission.VIEW_RISK


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields it does not know: a misspelt filter must not return everything."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError({name: ["unknown"] for name in unknown})
        return super().to_internal_value(data)


class NoQuery(StrictSerializer):
    """For what takes no parameters."""


class ZonedTime(serializers.DateTimeField):
    """A time with its zone; one without could be any of several."""

    def enforce_timezone(self, value: Any) -> Any:
        if value.tzinfo is None:
            raise serializers.ValidationError(
                "a time with its zone is expected, such as 2026-01-31T09:00:00Z"
            )
        return super().enforce_timezone(value)


class PastMoment(ZonedTime):
    """A moment to answer as of."""

    def to_internal_value(self, value: Any) -> datetime:
        moment = super().to_internal_value(value)
        try:
            # A call writes it as an address does, of which the field alone would take more.
            return read_moment(value) or moment
        except BadMoment as error:
            raise serializers.ValidationError(str(error)) from error


class MomentQuery(StrictSerializer):
    as_of = PastMoment(
        required=False,
        default=None,
        help_text="Answer as it was known at this moment: what was recorded or received later is left out. "
        "Without it: now.",
    )


class ListQuery(MomentQuery):
    limit = serializers.IntegerField(
        required=False, default=100, min_value=1, max_value=MAX_ROWS, help_text="Rows to a page."
    )
    cursor = serializers.CharField(
        required=False,
        default="",
        max_length=1000,
        help_text="next_cursor of the page before, of the same list under the same filters.",
    )


def parse_query(request: Request, form: type[StrictSerializer]) -> dict[str, Any]:
    """The query's parameters, each given once and known."""
    twice = [name for name, values in request.query_params.lists() if len(values) > 1]
    if twice:
        raise serializers.ValidationError({name: ["given more than once"] for name in sorted(twice)})
    query = form(data=request.query_params.dict())
    query.is_valid(raise_exception=True)
    given: dict[str, Any] = query.validated_data
    return given


class Listing:
    """A list being read page by page: its filters, and the place where the page before ended."""

    def __init__(self, request: Request, form: type[ListQuery]) -> None:
        self.given = parse_query(request, form)
        self.limit: int = self.given.pop("limit")
        cursor = self.given.pop("cursor")
        # Signed for this list, this reader and these filters: a cursor of another one is no cursor.
        scope = member_scope(request)
        reader = f"{scope.firm_id}|{scope.member_id}|{scope.role}"
        self.signer = Signer(salt=f"{request.path}?{sorted(self.given.items(), key=str)}#{reader}")
        self.place = self._open(cursor)

    def _open(self, cursor: str) -> Any:
        if not cursor:
            return None
        try:
            return self.signer.unsign_object(cursor)
        except BadSignature as error:
            raise self.refuse_cursor() from error

    @staticmethod
    def refuse_cursor() -> serializers.ValidationError:
        return serializers.ValidationError({"cursor": ["not a cursor of this list"]})

    def seal(self, place: Any) -> str:
        return self.signer.sign_object(place)

    def answer(
        self,
        serializer: type[serializers.Serializer[Any]],
        rows: Sequence[Any],
        place_of: Callable[[Any], Any],
    ) -> Response:
        """The page, from rows that were asked for with one more than the limit."""
        shown = rows[: self.limit]
        more = len(rows) > self.limit
        return self.answer_page(serializer, shown, self.seal(place_of(shown[-1])) if more else "")

    @staticmethod
    def answer_page(
        serializer: type[serializers.Serializer[Any]], rows: Sequence[Any], next_cursor: str
    ) -> Response:
        return Response({"results": serializer(rows, many=True).data, "next_cursor": next_cursor})


@extend_schema_field(
    {"type": "string", "pattern": r"^(-?[0-9]+(\.[0-9]+)?|-?Infinity)$", "example": "64250.5"}
)
class DecimalText(serializers.Field[Any, Any, Any, Any]):
    """A number as a string of plain digits; a ratio to nothing left is Infinity."""

    def to_representation(self, value: Any) -> str:
        return f"{value:f}" if isinstance(value, Decimal) else plain_float(value)


@extend_schema_field(
    {
        "anyOf": [
            {"type": "string", "pattern": f"^{PLAIN_NUMBER.pattern}$"},
            {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        ]
    }
)
class PositiveDecimal(serializers.Field[Any, Any, Any, Any]):
    """A number above zero, as a JSON number or as a string of plain digits; never rounded."""

    def to_representation(self, value: Any) -> str:
        return f"{value:f}"

    def to_internal_value(self, data: Any) -> Decimal:
        text = f"{data:f}" if isinstance(data, Decimal) else data
        if not isinstance(text, str) or not PLAIN_NUMBER.fullmatch(text):
            raise serializers.ValidationError("a plain decimal number above 0 and below 10^18 is expected")
        if len(text.partition(".")[2].rstrip("0")) > MAX_DECIMALS:
            raise serializers.ValidationError(f"at most {MAX_DECIMALS} decimals")
        value = Decimal(text)
        if value == 0:
            raise serializers.ValidationError("must be above 0")
        return value
