"""Transactions that are repeated where PostgreSQL asks for it. For psycopg 3.

    from neobank_retry import Retrying

    bank = Retrying(lambda: psycopg.connect(DSN))
    transaction_id = bank.transfer(from_account, to_account, Decimal("12.50"))

Three rules, which docs/concurrency.md explains:

1. What is repeated is the whole transaction from its first statement on, reads included: `work` is called again.
2. What moves money carries an id that is drawn once, before the first attempt: a repetition of what had been
   done already answers the first result.
3. The wait grows with each attempt and is drawn at random, so that those who collided do not collide again.
"""

import random
import time
import uuid

import psycopg

#: serialization_failure, deadlock_detected, lock_not_available.
RETRIED = frozenset({"40001", "40P01", "55P03"})
#: The connection is gone, or the server is going or coming: classes and codes.
LOST = ("08", "57P01", "57P02", "57P03")


def is_lost(error):
    """Whether it is unknown what became of the transaction."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(LOST)


class Retrying:
    """Runs work on a connection of its own, which it opens again where it is lost. One thread at a time."""

    def __init__(self, connect, attempts=10, first_wait=0.01, most_wait=1.0, on_retry=None):
        """connect: makes a connection; attempts: at the most, the first one included; first_wait, most_wait: bounds
        of the pause in seconds; on_retry(error, attempt): called before each pause, for logs and metrics."""
        self.connect = connect
        self.attempts = attempts
        self.first_wait = first_wait
        self.most_wait = most_wait
        self.on_retry = on_retry
        self.connection = None

    def run(self, work, isolation=None):
        """work(connection) runs in a transaction of its own and may run several times: it must change nothing but
        the database, or things that may be changed twice. Returns what it answers."""
        for attempt in range(self.attempts):
            try:
                connection = self._open()
                connection.isolation_level = isolation
                with connection.transaction():
                    return work(connection)
            except psycopg.Error as error:
                lost = is_lost(error)
                if lost:
                    self.close()
                if not (lost or error.sqlstate in RETRIED) or attempt + 1 == self.attempts:
                    raise
                if self.on_retry:
                    self.on_retry(error, attempt)
                time.sleep(self._pause(attempt))

    def _pause(self, attempt):
        # Full jitter: anything from nothing to a bound that doubles.
        return random.uniform(0, min(self.most_wait, self.first_wait * 2**attempt))

    def _open(self):
        if self.connection is None or self.connection.closed:
            self.connection = self.connect()
            self.connection.autocommit = True
        return self.connection

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def transfer(self, from_account, to_account, amount, transaction_id=None):
        """One transfer, once, whatever happens to the connection. Give the transaction_id where the caller may come
        again by itself, for one after a crash, and keep it before the call. amount: a Decimal, never a float."""
        transaction_id = transaction_id or uuid.uuid4()

        def post(connection):
            query = "SELECT txn_processing.transfer(%s, %s, %s, transaction_id => %s)"
            return connection.execute(query, (from_account, to_account, amount, transaction_id)).fetchone()[0]

        return self.run(post)
