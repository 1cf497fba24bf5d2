"""What the pages that change the book share."""

from uuid import UUID

from django.http import Http404, HttpRequest, QueryDict

from advisors.selectors import ClientNotFound, ClientRow, get_client

NAME_TAKEN = "The client already has one of this name, perhaps in another spelling."


def posted(request: HttpRequest) -> QueryDict | None:
    """What a form is bound to: an empty POST is a form sent empty, not one that was not sent."""
    return request.POST if request.method == "POST" else None


def client_or_404(public_id: UUID) -> ClientRow:
    try:
        return get_client(public_id)
    except ClientNotFound as error:
        raise Http404 from error
