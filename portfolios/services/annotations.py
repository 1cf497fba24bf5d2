"""Writes of what advisors think of a position: tags, conviction and a note, never changed, only followed."""

import unicodedata
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import transaction

from advisors import audit
from advisors.services.recording import hold_readers, take_stamp
from portfolios.importing import CellError, name_key
from portfolios.importing.cells import parse_text
from portfolios.models import Position, PositionAnnotation
from portfolios.selectors import PositionNotFound
from portfolios.selectors.annotations import CONVICTIONS

MAX_TAGS, MAX_TAG, MAX_NOTE = 10, 40, 2000


class AnnotationRefused(Exception):
    """What was given cannot be kept; names the field and says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def _tag(text: str) -> str:
    """A tag as it is kept: two that read alike are one."""
    key = name_key(parse_text(text, MAX_TAG))
    tag = unicodedata.normalize("NFC", key)
    while (again := unicodedata.normalize("NFC", name_key(tag))) != tag:
        tag = again
    return parse_text(tag, MAX_TAG)


def parse_tags(texts: Iterable[str]) -> list[str]:
    """Tags in the order given, each once; raises CellError."""
    tags = list(dict.fromkeys(tag for text in texts if (tag := _tag(text))))
    if any("," in tag for tag in tags):
        raise CellError("A tag has no comma in it.")
    if len(tags) > MAX_TAGS:
        raise CellError(f"At most {MAX_TAGS} tags.")
    return tags


def parse_note(text: str) -> str:
    """Lines of text, each checked as one; raises CellError."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip().split("\n")
    note = "\n".join(parse_text(line, MAX_NOTE) for line in lines)
    if len(note) > MAX_NOTE:
        raise CellError(f"Is longer than {MAX_NOTE} characters.")
    return note


def _checked(tags: Sequence[str], conviction: int | None, note: str) -> tuple[list[str], str]:
    if conviction is not None and conviction not in CONVICTIONS:
        raise AnnotationRefused("conviction", "Conviction is 1 to 5.")
    try:
        kept = parse_tags(tags)
    except CellError as error:
        raise AnnotationRefused("tags", str(error)) from error
    try:
        return kept, parse_note(note)
    except CellError as error:
        raise AnnotationRefused("note", str(error)) from error


@transaction.atomic
def annotate_position(*, position: UUID, tags: Sequence[str], conviction: int | None, note: str = "") -> None:
    """Say what is thought of a position from now on; the same tags and conviction without a note change nothing."""
    kept, text = _checked(tags, conviction, note)
    hold_readers()
    row = Position.objects.filter(public_id=position).values("id", "client_id").first()
    if row is None:
        raise PositionNotFound
    rows = PositionAnnotation.objects.filter(position_id=row["id"])
    newest = rows.order_by("-recorded_at", "-id").values("tags", "conviction").first()
    before = newest or {"tags": [], "conviction": None}
    if before == {"tags": kept, "conviction": conviction} and not text:
        return
    stamp = take_stamp()
    PositionAnnotation.objects.create(
        client_id=row["client_id"],
        position_id=row["id"],
        author_id=stamp.member_id,
        recorded_at=stamp.recorded_at,
        tags=kept,
        conviction=conviction,
        note=text,
    )
    audit.record(
        "position annotated",
        object_type="position",
        object_id=position,
        before=before,
        after={"tags": kept, "conviction": conviction, "note": text},
    )
