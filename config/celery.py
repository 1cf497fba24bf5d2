"""The Celery app and its beat table: the pipeline on one screen."""

import os

from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("bulkhead")
app.conf.update(settings.CELERY)
app.autodiscover_tasks(["advisors", "portfolios", "margin"])

# In the order in which the stages read each other. Beat keeps no state: an entry missed is rung at the next
# interval, and an entry that waited longer than one is dropped, for the sweep finds its work in the tables.
STAGES = {
    "take_in_marks": "margin.tasks.take_in_marks",
    "volatility": "margin.tasks.measure_volatility",
    "book_funding": "margin.tasks.book_funding",
    "recompute": "margin.tasks.recompute",
    "export": "advisors.tasks.export",
    "housekeeping": "margin.tasks.housekeeping",
}
app.conf.beat_schedule = {
    stage: {
        "task": STAGES[stage],
        "schedule": seconds,
        "options": {"expires": seconds},
    }
    for stage, seconds in settings.SWEEP_INTERVALS_SECONDS.items()
}
