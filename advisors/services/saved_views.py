"""Writes of the views that members keep of a page: their own to change, and read by the firm where they say so."""

from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from django.db import IntegrityError, transaction

from advisors import audit
from advisors.models import SavedView
from advisors.services.recording import take_stamp

MAX_VIEWS, MAX_NAME, MAX_QUERY = 30, 60, 2000
# What says whom it is about is nobody else's business.
OF_ONE_CLIENT = {
    "client": "the client",
    "portfolio": "the portfolio",
    "tag": "the tag",
    "text": "the words looked for",
}
# Where it stands in a list, and when: of no view.
OF_ONE_VISIT = frozenset({"after", "as_of", "v"})


class ViewRefused(Exception):
    """What was given cannot be kept; names the field and says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class ViewNotFound(Exception):
    """No such view of this member: another's or never there; nobody learns which."""


def _stamp() -> tuple[datetime, int]:
    """Now, and which member acts: the system keeps no views."""
    stamp = take_stamp()
    if stamp.member_id is None:
        raise ViewNotFound
    return stamp.recorded_at, stamp.member_id


def _checked_name(name: str) -> str:
    kept = " ".join(name.split())
    if not kept:
        raise ViewRefused("name", "A view needs a name.")
    if len(kept) > MAX_NAME:
        raise ViewRefused("name", f"A name has at most {MAX_NAME} characters.")
    return kept


def _checked_query(query: str, *, is_team: bool) -> str:
    left_out = OF_ONE_VISIT | OF_ONE_CLIENT.keys() if is_team else OF_ONE_VISIT
    kept = urlencode([pair for pair in parse_qsl(query) if pair[0] not in left_out])
    if len(kept) > MAX_QUERY:
        raise ViewRefused(
            "name", f"This view asks for too much: its address has at most {MAX_QUERY} characters."
        )
    return kept


def left_out_of_team_view(query: str) -> list[str]:
    """What a view that is shared leaves out of this address, in words for who saves it."""
    given = {name for name, _ in parse_qsl(query)}
    return [words for name, words in OF_ONE_CLIENT.items() if name in given]


def _written(view: SavedView) -> dict[str, Any]:
    return {
        "page": view.page,
        "name": view.name,
        "query": view.query,
        "is_team": view.is_team,
        "is_default": view.is_default,
    }


@transaction.atomic
def save_view(*, page: str, name: str, query: str, is_team: bool = False, is_default: bool = False) -> UUID:
    """Keep what a page shows under a name; a default takes the place of the one before."""
    kept, asked = _checked_name(name), _checked_query(query, is_team=is_team)
    now, member_id = _stamp()
    mine = SavedView.objects.filter(member_id=member_id, page=page)
    if mine.count() >= MAX_VIEWS:
        raise ViewRefused("name", f"You keep {MAX_VIEWS} views of this page already: delete one first.")
    if is_default:
        mine.filter(is_default=True).update(is_default=False)
    view = SavedView(
        member_id=member_id,
        page=page,
        name=kept,
        query=asked,
        is_team=is_team,
        is_default=is_default,
        created_at=now,
    )
    _store(view)
    audit.record("view.saved", object_type="saved_view", object_id=view.public_id, after=_written(view))
    return view.public_id


@transaction.atomic
def change_view(*, public_id: UUID, name: str, is_default: bool) -> None:
    """Call a view of one's own otherwise, or make it what its page opens with, or not any longer."""
    view = _mine(public_id)
    before = _written(view)
    if is_default:
        others = SavedView.objects.filter(member_id=view.member_id, page=view.page, is_default=True)
        others.exclude(pk=view.pk).update(is_default=False)
    view.name, view.is_default = _checked_name(name), is_default
    if _written(view) == before:
        return
    _store(view)
    audit.record(
        "view.changed", object_type="saved_view", object_id=public_id, before=before, after=_written(view)
    )


@transaction.atomic
def delete_view(*, public_id: UUID) -> None:
    view = _mine(public_id)
    audit.record("view.deleted", object_type="saved_view", object_id=public_id, before=_written(view))
    view.delete()


def _mine(public_id: UUID) -> SavedView:
    """Of another's the database hands out those of the team to read, none to change."""
    view = SavedView.objects.filter(public_id=public_id, member_id=_stamp()[1]).first()
    if view is None:
        raise ViewNotFound
    return view


def _store(view: SavedView) -> None:
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError as error:
        raise ViewRefused("name", f"You keep a view called {view.name} already.") from error
