"""Django's PostgreSQL backend, sending the scope as the first statement of every outermost transaction."""

import re
from contextlib import suppress

import psycopg
from django.db.backends.postgresql import base, features
from psycopg.pq import TransactionStatus

# SET takes no bound parameter, so what may stand in it is spelled out here.
SCOPE_FORM = re.compile(r"[0-9]{1,18}\|[0-9]{0,18}\|(?:advisor|compliance|admin|system)")


class DatabaseFeatures(features.DatabaseFeatures):
    # Django would group by the id alone, which is no key here: a row is known by its firm and its id.
    allows_group_by_selected_pks = False


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that knows whose rows the next transaction may see."""

    features_class = DatabaseFeatures
    scope_text: str = ""

    def set_scope(self, scope_text: str) -> str:
        """Put a scope in force (now, inside a transaction; otherwise from the next on) and return the former."""
        if scope_text and not SCOPE_FORM.fullmatch(scope_text):
            raise ValueError("a scope is firm|member|role")
        former, self.scope_text = self.scope_text, scope_text
        # Leaving a scope must not hide the error that made us leave. A SET that fails breaks the transaction:
        # nothing more is answered in it, and what brings it back sends the scope again.
        with suppress(psycopg.Error):
            self._renew_scope()
        return former

    def set_autocommit(
        self, autocommit: bool, force_begin_transaction_with_broken_autocommit: bool = False
    ) -> None:
        super().set_autocommit(autocommit, force_begin_transaction_with_broken_autocommit)
        if autocommit or not self.scope_text:
            return
        try:
            with self.wrap_database_errors:
                self._send_scope()
        except BaseException:
            # Half begun, Django would take it for a transaction of ours and ask its questions without a scope.
            self.close()
            raise

    def savepoint_rollback(self, sid: str) -> None:
        # The server goes back to the scope of the moment the savepoint was set, which may be another by now.
        super().savepoint_rollback(sid)
        with self.wrap_database_errors:
            self._renew_scope()

    def _renew_scope(self) -> None:
        """Inside a transaction that still answers, whoever began it and whether or not it has said anything yet."""
        raw = self.connection
        if raw is None:
            return
        status = raw.info.transaction_status
        if status == TransactionStatus.INTRANS or (status == TransactionStatus.IDLE and not raw.autocommit):
            self._send_scope()

    def _send_scope(self) -> None:
        # SET LOCAL and not set_config(): Citus forwards the first to its workers and not the second.
        # It ends with the transaction, so a pooled connection never carries a firm to its next user.
        with self.connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL app.scope = '{self.scope_text}'")
