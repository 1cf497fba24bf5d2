"""The product's settings on the test cluster: the plain web login, and the migrate login beside it."""

import os
from urllib.parse import parse_qs, unquote, urlsplit

PASSWORDS = {"web": "test-web", "worker": "test-worker", "migrate": "test-migrate"}
os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "x" * 40)
os.environ["BULKHEAD_PROCESS"] = "web"
# The throwaway server of a test run does without; inherited by every process that a test starts.
os.environ["REQUIRE_FSYNC"] = "0"

_superuser = urlsplit(os.environ.get("TEST_SUPERUSER_URL", "postgres://postgres@127.0.0.1:5432/postgres"))
_query = {key: values[0] for key, values in parse_qs(_superuser.query).items()}
HOST = _query.get("host") or _superuser.hostname or ""
PORT = str(_query.get("port") or _superuser.port or "")
SUPERUSER = {
    "user": unquote(_superuser.username or "postgres"),
    "password": unquote(_superuser.password or ""),
    "host": HOST,
    "port": PORT,
}

from config.settings import *  # noqa: E402, F403
from config.settings import DATABASES, STORAGES  # noqa: E402


def login(name: str) -> dict[str, object]:
    return {
        **DATABASES["default"],
        "USER": f"bulkhead_{name}",
        "PASSWORD": PASSWORDS[name],
        "HOST": HOST,
        "PORT": PORT,
        "NAME": "bulkhead",
        "CONN_MAX_AGE": 0,
    }


DATABASES = {
    "default": login("web"),
    "migrate": {
        **login("migrate"),
        "OPTIONS": {**DATABASES["default"]["OPTIONS"], "assume_role": "bulkhead_owner"},
        # A request of the product uses one connection.
        "ATOMIC_REQUESTS": False,
    },
}
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
# Files come straight from static/, so that no test depends on a collected copy.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
