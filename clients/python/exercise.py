"""Two clients at once that are made to collide in each way there is. Run by the tests: exercise.py DSN A B C D.

Prints a line for each retry, `retry CODE`, and at the end `done` with the number of postings that there must be.
"""

import sys
import threading
import uuid
from decimal import Decimal

import psycopg
from neobank_retry import Retrying

TRANSFER = "SELECT txn_processing.transfer(%s, %s, %s, transaction_id => %s)"
CENTS = Decimal("0.10")


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Client(threading.Thread):
    def __init__(self, dsn, number, accounts, barrier):
        super().__init__()
        self.number, self.accounts, self.barrier = number, accounts, barrier
        self.bank = Retrying(
            lambda: psycopg.connect(dsn), attempts=40, on_retry=lambda error, _: say(f"retry {error.sqlstate or 'lost'}")
        )
        self.failure, self.postings = None, 0

    def run(self):
        try:
            for part in (self.locked, self.skew, self.crossed, self.lost, self.unanswered, self.refused):
                # Who is ahead may not hold what the other one still wants for the part before.
                self.barrier.wait(60)
                part()
            self.bank.close()
        except BaseException as error:
            self.failure = error
            self.barrier.abort()

    def once_together(self):
        """A place where both wait for each other in their first attempt."""
        first = True

        def meet():
            nonlocal first
            if first:
                first = False
                self.barrier.wait(60)

        return meet

    def locked(self):
        """Somebody else has the account for a while: 55P03 by lock_timeout."""
        a, b, _, _ = self.accounts
        self.bank.transfer(a, b, CENTS)
        self.postings += 1

    def skew(self):
        """Both read both balances, and decide by them: 40001."""
        a, b, _, _ = self.accounts
        meet, key = self.once_together(), uuid.uuid4()

        def work(connection):
            query = "SELECT sum(current_balance) FROM banking.accounts WHERE account_id IN (%s, %s)"
            total = connection.execute(query, (a, b)).fetchone()[0]
            meet()
            connection.execute(TRANSFER, (a, b, total / 1000, key))

        self.bank.run(work, isolation=psycopg.IsolationLevel.SERIALIZABLE)
        self.postings += 1

    def crossed(self):
        """Two postings in one transaction, in opposite order: 40P01."""
        a, b, c, d = self.accounts
        pairs = [(a, b), (c, d)] if self.number else [(c, d), (a, b)]
        meet, keys = self.once_together(), [uuid.uuid4(), uuid.uuid4()]

        def work(connection):
            connection.execute(TRANSFER, (*pairs[0], CENTS, keys[0]))
            meet()
            connection.execute(TRANSFER, (*pairs[1], CENTS, keys[1]))

        self.bank.run(work)
        self.postings += 2

    def lost(self):
        """The connection ends before the commit: nothing was done."""
        a, b, _, _ = self.accounts
        key, attempts = uuid.uuid4(), []

        def work(connection):
            attempts.append(1)
            connection.execute(TRANSFER, (a, b, CENTS, key))
            if len(attempts) == 1:
                connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        self.bank.run(work)
        assert len(attempts) == 2, attempts
        self.postings += 1

    def unanswered(self):
        """The connection ends after the commit, before its answer: it was done, and is not done twice."""
        a, b, _, _ = self.accounts
        key = uuid.uuid4()
        first = self.bank.transfer(a, b, CENTS, transaction_id=key)
        self.bank.close()
        assert self.bank.transfer(a, b, CENTS, transaction_id=key) == first == key
        self.postings += 1

    def refused(self):
        """What the bank refuses is refused at once."""
        a, b, _, _ = self.accounts
        calls = []

        def work(connection):
            calls.append(1)
            connection.execute(TRANSFER, (a, b, Decimal("1000000"), uuid.uuid4()))

        try:
            self.bank.run(work)
        except psycopg.Error as error:
            assert error.sqlstate == "NB001", error
        assert len(calls) == 1, calls


def main():
    dsn, accounts = sys.argv[1], sys.argv[2:6]
    barrier = threading.Barrier(2)
    clients = [Client(dsn, number, accounts, barrier) for number in range(2)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    for client in clients:
        if client.failure:
            raise client.failure
    say(f"done {sum(client.postings for client in clients)}")


main()
