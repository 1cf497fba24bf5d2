"""Figures for a monitor in Prometheus' text format, read from the tables when asked; no firm, client or amount in them.

Source of the format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from threading import Lock, Thread

import structlog
from django.conf import settings
from django.db import DatabaseError, connection

from advisors.jobs import firm_scope, list_firm_ids
from advisors.selectors import list_stages
from margin.selectors.health import count_marks_waiting, count_work, list_feed_health

log = structlog.get_logger(__name__)

PATH = "/metrics"
TOTALS_EVERY_SECONDS = 30
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """A name, what it means, and a value for each set of labels; all of them as they are now."""

    name: str
    meaning: str
    samples: Sequence[tuple[Labels, float]]

    def lines(self) -> Iterator[str]:
        yield f"# HELP bulkhead_{self.name} {self.meaning}"
        yield f"# TYPE bulkhead_{self.name} gauge"
        for labels, value in self.samples:
            named = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            yield f"bulkhead_{self.name}{'{' + named + '}' if named else ''} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def read_metrics() -> str:
    """Every metric as text; what was never so is left out, for there is no number that means never."""
    waiting = Metric(
        "marks_waiting", "Posted marks that are not taken in yet.", [({}, float(count_marks_waiting()))]
    )
    metrics = [*_stage_metrics(), *_feed_metrics(), waiting, *totals.read()]
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def _stage_metrics() -> list[Metric]:
    stages = list_stages()
    ended = [stage for stage in stages if stage.age_seconds is not None]
    return [
        Metric(
            "stage_age_seconds",
            "Since the stage last finished.",
            [({"stage": stage.stage}, stage.age_seconds or 0.0) for stage in ended],
        ),
        Metric(
            "stage_run_seconds",
            "How long its last run took.",
            [({"stage": stage.stage}, stage.seconds or 0.0) for stage in ended],
        ),
        Metric(
            "stage_rows",
            "Rows its last run handled.",
            [({"stage": stage.stage}, float(stage.rows or 0)) for stage in ended],
        ),
        Metric(
            "stage_late",
            "1 while the stage is late or never finished.",
            [({"stage": stage.stage}, float(stage.is_late)) for stage in stages],
        ),
    ]


def _feed_metrics() -> list[Metric]:
    told = {
        "mark_age_seconds": ("Age of the newest mark of a source.", "newest_age_seconds"),
        "marks_missed": ("Marks of a source that never came.", "missed"),
        "marks_refused": ("Marks of a source refused within 24 hours.", "refused"),
        "instruments_silent": ("Instruments of a source whose mark is older than its limit.", "silent"),
    }
    feeds = list_feed_health()
    return [
        Metric(name, meaning, [({"source": feed.source}, float(getattr(feed, field))) for feed in feeds])
        for name, (meaning, field) in told.items()
    ]


class FirmTotals:
    """Sums over all firms, each read in its own scope; of ten thousand firms not with every question."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._read_at = -inf
        self._metrics: list[Metric] = []

    def read(self) -> list[Metric]:
        with self._lock:
            if time.monotonic() - self._read_at > TOTALS_EVERY_SECONDS:
                self._metrics, self._read_at = _firm_metrics(), time.monotonic()
            return self._metrics


def _firm_metrics() -> list[Metric]:
    states: Counter[str] = Counter()
    quarantined = exports = 0
    for firm_id in list_firm_ids():
        with firm_scope(firm_id):
            of_firm = count_work()
        states.update(of_firm.by_state)
        quarantined += of_firm.quarantined
        exports += of_firm.exports_waiting
    return [
        Metric(
            "positions",
            "Open positions of all firms by state.",
            [({"state": state}, float(count)) for state, count in states.items()],
        ),
        Metric(
            "positions_quarantined", "Positions whose computing failed too often.", [({}, float(quarantined))]
        ),
        Metric("exports_waiting", "Exports that are not written yet.", [({}, float(exports))]),
    ]


totals = FirmTotals()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != PATH:
            self.send_error(404)
            return
        try:
            body = read_metrics().encode()
        except DatabaseError as error:
            log.warning("metrics_failed", error=type(error).__name__)
            self.send_error(503)
            return
        finally:
            connection.close()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A monitor that asks every few seconds is no news."""


def serve_metrics() -> ThreadingHTTPServer | None:
    """On a thread of its own, where a port is named."""
    if not settings.METRICS_PORT:
        return None
    server = ThreadingHTTPServer((settings.METRICS_HOST, settings.METRICS_PORT), _Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    log.info("metrics_served", port=server.server_address[1])
    return server
