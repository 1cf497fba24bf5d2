"""The past moment a page or a call is asked for: read from its address, and written into every link that goes on."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils import timezone

PARAMETER = "as_of"
# A reader's clock may run ahead of ours by this much; what is asked for then is now.
AHEAD = timedelta(seconds=5)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
# One way of writing a time, of the many that ISO 8601 has: a date and a time of day, and a zone if it is not UTC.
WRITTEN = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:[0-5]\d)?", re.IGNORECASE | re.ASCII
)


class BadMoment(ValueError):
    """Not a past moment that anything can be shown as of; says why."""


def moment_of(request: HttpRequest) -> datetime | None:
    """The moment the request asks for, None for now. A page that asks for it is one that can be read in the past."""
    if not has_past(request):
        request.moment = read_moment(request.GET.get(PARAMETER, ""))  # type: ignore[attr-defined]
    return moment_shown(request)


def has_past(request: HttpRequest) -> bool:
    """Whether what is being made can be read as of a moment."""
    return hasattr(request, "moment")


def moment_shown(request: HttpRequest) -> datetime | None:
    """The moment that the page being made shows: None on one that shows now or has no past."""
    return getattr(request, "moment", None)


def read_moment(text: str) -> datetime | None:
    """A moment as an address has it; nothing is now."""
    text = text.strip()
    if not text:
        return None
    # A plus sign that was not encoded arrives as a space: the only place where a time may have one behind its T.
    if text[10:11] in {"T", "t"}:
        text = text.replace(" ", "+")
    if not WRITTEN.fullmatch(text):
        raise BadMoment("It is no time such as 2021-05-19T12:30:00Z.")
    try:
        moment = datetime.fromisoformat(text.upper())
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise BadMoment("There is no such day or time.") from error
    return check_moment(moment)


def check_moment(moment: datetime) -> datetime:
    """In the past and in this system's lifetime."""
    now = timezone.now()
    if moment > now + AHEAD:
        raise BadMoment("It lies in the future, of which nothing is known.")
    if moment < EARLIEST:
        raise BadMoment("It lies before the year 2000, before anything was recorded.")
    return min(moment, now)


def moment_text(moment: datetime) -> str:
    """A moment as an address has it: in UTC, to the microsecond where there are any."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def as_of_query(moment: datetime | None) -> str:
    """What a link carries so that it stays at the moment; nothing for now."""
    return "" if moment is None else urlencode({PARAMETER: moment_text(moment)}, safe=":")
