"""What runs: processes and the steps that prepare them, as data that docker-compose.yml is compared with."""

from dataclasses import dataclass

PYTHON = "python"  # stands for the interpreter of this installation


@dataclass(frozen=True, slots=True)
class Process:
    """A command line and the database login it gets (None: it opens no database)."""

    name: str
    line: str
    login: str | None

    def words(self, *, bind: str) -> tuple[str, ...]:
        """The command's words; `bind` is the address web listens on."""
        return tuple(word.format(bind=bind) for word in self.line.split())


WEB_OPTIONS = "--worker-class gthread --workers 2 --threads 4 --timeout 60 --graceful-timeout 5"
WEB_LINE = f"python -m gunicorn config.wsgi --bind {{bind}} {WEB_OPTIONS} --no-control-socket"
WORKER_LINE = "python -m celery -A config worker --concurrency 2 --without-gossip --without-mingle"

WEB = Process("web", WEB_LINE, "bulkhead_web")
WORKER = Process("worker", WORKER_LINE, "bulkhead_worker")
BEAT = Process("beat", "python -m celery -A config beat -S celery.beat:Scheduler", None)
SWEEPER = Process("sweeper", "python manage.py sweeper", "bulkhead_worker")
REPLAY = Process("replay", "python manage.py replay", "bulkhead_worker")
PROCESSES = {process.name: process for process in (WEB, WORKER, BEAT, SWEEPER, REPLAY)}

BOOTSTRAP = Process("bootstrap", "python manage.py bootstrap", "postgres")
MIGRATE = Process("migrate", "python manage.py migrate --verbosity 0", "bulkhead_migrate")
LOAD_MARKET = Process("load_market", "python manage.py load_market", "bulkhead_worker")
SEED_DEMO = Process("seed_demo", "python manage.py seed_demo", "bulkhead_worker")
COLLECT_STATIC = Process("collectstatic", "python manage.py collectstatic --noinput --verbosity 0", None)
# In this order at every start; each may be repeated.
SETUP = (BOOTSTRAP, MIGRATE, LOAD_MARKET, SEED_DEMO)


def part_of(process: Process) -> str:
    """Value of BULKHEAD_PROCESS for a process or step."""
    return process.name if process.name in {*PROCESSES, "bootstrap", "migrate"} else "worker"
