"""PostgreSQL and Valkey for one run: the user's own when the environment names them, else the wheels'."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from config.supervisor import postgres, state, valkey
from config.supervisor.front import Front


@dataclass(frozen=True, slots=True)
class Servers:
    """How to reach both servers, and what to tell the user about the data."""

    superuser_url: str
    redis_url: str
    kept_data: Path | None

    def login_url(self, user: str, password: str, database: str = "bulkhead") -> str:
        """The superuser's URL with another login and database."""
        parts = urlsplit(self.superuser_url)
        place = parts.netloc.rpartition("@")[2]
        netloc = f"{user}:{quote(password, safe='')}@{place}"
        # urlunsplit drops an empty host's slashes; a socket URL has no host but needs them.
        return urlunsplit((parts.scheme, netloc, f"/{database}", parts.query, ""))


def start(
    front: Front, *, folder: Path, home: Path, logs: Path, url_variable: str, throwaway: bool
) -> Servers:
    """Start what the environment does not name; `url_variable` names a superuser's URL."""
    superuser_url = os.environ.get(url_variable, "")
    redis_url = os.environ.get("REDIS_URL", "")
    kept_data = None
    if not superuser_url:
        server = postgres.start(
            front, folder=folder, home=home, log=logs / "postgres.log", throwaway=throwaway
        )
        superuser_url = server.url()
        kept_data = server.data if server.kept else None
    if not redis_url:
        redis_url = valkey.start(front, folder=folder, home=home, log=logs / "valkey.log")
    return Servers(superuser_url, redis_url, kept_data)


def demo_passwords(folder: Path) -> dict[str, str]:
    """The three logins' passwords, generated once."""
    return {login: state.load_secret(folder, login) for login in ("web", "worker", "migrate")}
