"""Django's PostgreSQL backend, sending the scope as the first statement of every outermost transaction."""

import re
from typing import Any

from django.db.backends.postgresql import base

# SET takes no bound parameter, so what may stand in it is spelled out here.
SCOPE_FORM = re.compile(r"[0-9]{1,19}\|[0-9]{0,19}\|(?:advisor|compliance|admin|system)")


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that knows whose rows the next transaction may see."""

    scope_text: str = ""

    def set_scope(self, scope_text: str) -> str:
        """Put a scope in force (now, inside a transaction; otherwise from the next on) and return the former."""
        if scope_text and not SCOPE_FORM.fullmatch(scope_text):
            raise ValueError("a scope is firm|member|role")
        former, self.scope_text = self.scope_text, scope_text
        if self.in_atomic_block and not self.needs_rollback and self.connection is not None:
            self._send_scope()
        return former

    def set_autocommit(
        self, autocommit: bool, force_begin_transaction_with_broken_autocommit: bool = False
    ) -> None:
        super().set_autocommit(autocommit, force_begin_transaction_with_broken_autocommit)
        if not autocommit and self.scope_text:
            self._send_scope()

    def _send_scope(self) -> None:
        # SET LOCAL and not set_config(): Citus forwards the first to its workers and not the second.
        # It ends with the transaction, so a pooled connection never carries a firm to its next user.
        with self.connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL app.scope = '{self.scope_text}'")
