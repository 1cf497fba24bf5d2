"""What may stand in a log: which route, which stage, which kind of error; never a value that somebody typed or owns."""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any

FRAMES_SHOWN = 12
ROOT = f"{Path(__file__).resolve().parent.parent}/"
# Their messages are about processes and connections; of all others the sentence is kept, without its values.
TALKS_OF_PROCESSES = (
    "celery.apps",
    "celery.beat",
    "celery.bootsteps",
    "celery.worker.consumer",
    "gunicorn.error",
)

EventDict = MutableMapping[str, Any]


def describe_error(error: BaseException) -> dict[str, Any]:
    """Kind and place of an error and of those it came from; the message stays out, for it repeats values."""
    kinds: list[str] = []
    frames: list[list[str]] = []
    seen: BaseException | None = error
    while seen is not None and len(kinds) < FRAMES_SHOWN:
        kinds.append(_kind_of(seen))
        frames.append(_frames_of(seen.__traceback__))
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return {"error": " < ".join(kinds), "frames": frames}


def _kind_of(error: BaseException) -> str:
    """A database says by name which of its rules was broken; the row stands in its detail."""
    kind = type(error).__name__
    state, diagnosis = getattr(error, "sqlstate", None), getattr(error, "diag", None)
    rule = getattr(diagnosis, "constraint_name", None)
    return " ".join(part for part in (kind, state, rule) if part)


def _frames_of(trace: TracebackType | None) -> list[str]:
    last = traceback.extract_tb(trace)[-FRAMES_SHOWN:]
    return [f"{_module_of(frame.filename)}:{frame.lineno} {frame.name}" for frame in last]


def _module_of(path: str) -> str:
    return path.rpartition("site-packages/")[2].removeprefix(ROOT)


def keep_kind_of_error(_: Any, __: str, event: EventDict) -> EventDict:
    """Instead of a traceback with messages."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event.update(describe_error(error))
    return event


def keep_sentence(_: Any, __: str, event: EventDict) -> EventDict:
    """Of a library's record: who says it and its sentence; values only where they are about processes."""
    record: logging.LogRecord = event["_record"]
    if not record.name.startswith(TALKS_OF_PROCESSES):
        event["event"] = str(record.msg)
    values = event.pop("positional_args", None)
    if isinstance(values, dict):
        # Celery's, of a task.
        event.update({key: str(values[key]) for key in ("name", "id") if key in values})
    if isinstance(status := getattr(record, "status_code", None), int):
        event["status"] = status
    event["logger"] = record.name
    return event
