"""Every setting of every process; values come from the environment and a bad one stops the start."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
import structlog

from config.log_values import keep_kind_of_error, keep_sentence

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

PROCESS_LOGINS = {
    "web": "bulkhead_web",
    "worker": "bulkhead_worker",
    "sweeper": "bulkhead_worker",
    "replay": "bulkhead_worker",
    "migrate": "bulkhead_migrate",
    "beat": None,
    "bootstrap": None,
}
BULKHEAD_PROCESS = env.str("BULKHEAD_PROCESS", default="web")
if BULKHEAD_PROCESS not in PROCESS_LOGINS:
    raise environ.ImproperlyConfigured(
        f"BULKHEAD_PROCESS={BULKHEAD_PROCESS!r} is none of {', '.join(PROCESS_LOGINS)}"
    )

SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY and BULKHEAD_PROCESS != "bootstrap":
    SECRET_KEY = env.str("SECRET_KEY")
BASE_URL = env.str("BASE_URL", default="http://localhost:8000")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])
CSRF_TRUSTED_ORIGINS = [BASE_URL]
DEBUG = False
DEMO = env.bool("DEMO", default=False)
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var")))

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "advisors",
    "portfolios",
    "margin",
    "alerts",
    "config",
]
MIDDLEWARE = [
    "config.logs.RequestLogMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.headers.SecurityHeadersMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "advisors.middleware.ScopeMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _database() -> dict[str, Any]:
    options: dict[str, Any] = {"connect_timeout": 5}
    if BULKHEAD_PROCESS == "migrate":
        options["assume_role"] = "bulkhead_owner"
    return {
        **env.db_url("DATABASE_URL", default="postgres:///bulkhead"),
        "ENGINE": "config.db",
        "OPTIONS": options,
        "ATOMIC_REQUESTS": True,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


_default_database = _database()
# environ puts the query part of the URL (a socket folder, a port) into OPTIONS: keep what the URL said.
_url_options = env.db_url("DATABASE_URL", default="postgres:///bulkhead").get("OPTIONS", {})
_default_database["HOST"] = _url_options.pop("host", _default_database.get("HOST", ""))
_default_database["PORT"] = _url_options.pop("port", _default_database.get("PORT", ""))
_default_database["OPTIONS"] = {**_default_database["OPTIONS"], **_url_options}
DATABASES: dict[str, Any] = {"default": _default_database}
DATABASE_ROUTERS: list[str] = []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# What the database has acknowledged must outlast a power cut; only a throwaway test server may do without.
REQUIRE_FSYNC = env.bool("REQUIRE_FSYNC", default=True)
MINIMUM_POSTGRES = {15: 150014, 16: 160010, 17: 170006, 18: 180000}

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "config_cache"},
}

AUTH_USER_MODEL = "advisors.User"
# E-mail is unique without regard to case, by a constraint the check does not see.
SILENCED_SYSTEM_CHECKS = ["auth.W004"]
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "advisors.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "login_failed": "10/m/ip,5/300s/key"}
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="bulkhead@localhost")

SECURE_TLS = BASE_URL.startswith("https://")
SESSION_COOKIE_NAME = "__Host-session" if SECURE_TLS else "session"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_TLS
SESSION_COOKIE_AGE = 12 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SECURE_HSTS_SECONDS = 31_536_000 if SECURE_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_TLS
SECURE_SSL_REDIRECT = SECURE_TLS
# A health check asks the process itself, without the proxy that speaks TLS.
SECURE_REDIRECT_EXEMPT = [r"^healthz/"]
# Behind one proxy the caller's address and scheme are what that proxy says; without it nothing said is believed.
TRUST_PROXY = env.bool("TRUST_PROXY", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUST_PROXY else None
ALLAUTH_TRUSTED_PROXY_COUNT = int(TRUST_PROXY)
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 6 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000

LANGUAGE_CODE = "en-gb"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["advisors.tokens.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["advisors.access.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["advisors.parsers.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "rest_framework.views.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Bulkhead API",
    "DESCRIPTION": "Clients, portfolios, isolated positions with their risk, and marks. Decimals are strings.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
}

# Celery is the doorbell; Postgres is the ledger. Nothing that must happen exists only as a message.
REDIS_URL = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")
CELERY = {
    "broker_url": REDIS_URL,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    "task_ignore_result": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "worker_soft_shutdown_timeout": 20,
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "task_time_limit": 120,
    "task_soft_time_limit": 100,
    # A large export is no runaway task, and no more is a week of days or hours made up.
    "task_annotations": {
        "advisors.tasks.export": {"time_limit": 3700, "soft_time_limit": 3600},
        "margin.tasks.housekeeping": {"time_limit": 1300, "soft_time_limit": 1200},
        "margin.tasks.measure_volatility": {"time_limit": 1300, "soft_time_limit": 1200},
    },
    "worker_max_tasks_per_child": 500,
    "worker_hijack_root_logger": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "task_publish_retry": False,
    "broker_transport_options": {
        "visibility_timeout": 120,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 1 if BULKHEAD_PROCESS == "web" else 5,
        "socket_connect_timeout": 1 if BULKHEAD_PROCESS == "web" else 2,
        "socket_keepalive": True,
        "health_check_interval": 10,
    },
}
# Seconds between runs of each sweep; beat rings at this pace and the sweeper steps in at twice of it.
SWEEP_INTERVALS_SECONDS = {
    "take_in_marks": env.int("SWEEP_MARKS_SECONDS", default=5),
    # It has work once an hour, and finds out often, so that neither a stop nor an import costs an hour.
    "volatility": env.int("SWEEP_VOLATILITY_SECONDS", default=300),
    "book_funding": env.int("SWEEP_FUNDING_SECONDS", default=60),
    "recompute": env.int("SWEEP_RECOMPUTE_SECONDS", default=10),
    "export": env.int("SWEEP_EXPORT_SECONDS", default=5),
    "housekeeping": env.int("SWEEP_HOUSEKEEPING_SECONDS", default=60),
}
SWEEP_FIRMS_PER_BATCH = env.int("SWEEP_FIRMS_PER_BATCH", default=200)
LONGEST_MARK_AGE_SECONDS = 3600


def _seconds(name: str, given: str) -> int:
    """An age that a mark may reach: nobody may turn the check off, by mistake or otherwise."""
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= LONGEST_MARK_AGE_SECONDS):
        raise environ.ImproperlyConfigured(
            f"{name}: {given!r} is no whole number of seconds from 1 to {LONGEST_MARK_AGE_SECONDS}"
        )
    return int(given)


def _share(name: str, given: str) -> float:
    try:
        share = float(given)
    except ValueError:
        share = float("nan")
    if not 0 < share < 1:
        raise environ.ImproperlyConfigured(f"{name}: {given!r} is no number between 0 and 1")
    return share


# After so long without a newer mark a figure is shown as stale: with the time a page takes to ask again, in a minute.
MARK_AGE_LIMIT = timedelta(
    seconds=_seconds("MARK_AGE_LIMIT_SECONDS", env.str("MARK_AGE_LIMIT_SECONDS", default="45"))
)
# Of feeds that are slower or faster by nature: MARK_AGE_LIMITS_SECONDS=binance=30,slow-feed=300
MARK_AGE_LIMITS_SECONDS = {
    source.strip(): _seconds(f"MARK_AGE_LIMITS_SECONDS of {source!r}", seconds.strip())
    for source, _, seconds in (
        given.partition("=") for given in env.list("MARK_AGE_LIMITS_SECONDS", default=[])
    )
}
# From this difference on, as a share of the lower price, two sources of one mark disagree.
MARK_DISPUTE_RATIO = _share("MARK_DISPUTE_RATIO", env.str("MARK_DISPUTE_RATIO", default="0.02"))
# Marks are kept as they came for so long, and after that as candles of a minute.
MARK_HISTORY_FULL = timedelta(days=env.int("MARK_HISTORY_FULL_DAYS", default=90))
STAGE_LATE_AFTER = timedelta(seconds=env.int("STAGE_LATE_AFTER_SECONDS", default=45))
QUARANTINE_ATTEMPTS = 3
QUARANTINE_PAUSE = timedelta(seconds=env.int("QUARANTINE_PAUSE_SECONDS", default=3600))
IMPORT_MAX_BYTES = env.int("IMPORT_MAX_BYTES", default=5 * 1024 * 1024)
IMPORT_MAX_ROWS = env.int("IMPORT_MAX_ROWS", default=20_000)
# Of a workbook: what its zip directory may promise, and what the process that reads it may take.
IMPORT_MAX_UNPACKED_BYTES = env.int("IMPORT_MAX_UNPACKED_BYTES", default=50 * 1024 * 1024)
IMPORT_MAX_RATIO = env.int("IMPORT_MAX_RATIO", default=100)
IMPORT_MAX_ENTRIES = env.int("IMPORT_MAX_ENTRIES", default=200)
IMPORT_CHILD_MEMORY_BYTES = env.int("IMPORT_CHILD_MEMORY_BYTES", default=512 * 1024 * 1024)
IMPORT_CHILD_SECONDS = env.int("IMPORT_CHILD_SECONDS", default=20)
# Figures for a monitor, served by the sweeper; 0 for none. Only this machine may ask unless a host is named.
METRICS_PORT = env.int("METRICS_PORT", default=0)
METRICS_HOST = env.str("METRICS_HOST", default="127.0.0.1")
REPORTS = {
    "positions": "margin.reports.positions_report",
    "events": "portfolios.reports.events_report",
}

# No value that somebody typed or owns stands in a log, whoever writes the line.
structlog.configure(
    # Standard output belongs to what a command says.
    logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        keep_kind_of_error,
        structlog.processors.JSONRenderer(),
    ],
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": structlog.stdlib.ProcessorFormatter,
            "pass_foreign_args": True,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            "foreign_pre_chain": [
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso"),
                keep_sentence,
                keep_kind_of_error,
            ],
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        # Statements with their values, at whatever level the rest is logged.
        "django.db.backends": {"level": "WARNING"},
        # What is refused stands in the line of its request.
        "django.request": {"level": "ERROR"},
        # The server's own lines go the same way as ours.
        "gunicorn.error": {"handlers": [], "propagate": True},
    },
}
