'use strict';

// Two clients at once that are made to collide in each way there is. Run by the tests: exercise.js DSN A B C D.
// Prints a line for each retry, `retry CODE`, and at the end `done` with the number of postings that there must be.

const assert = require('node:assert');
const { randomUUID } = require('node:crypto');
const { Client } = require('pg');
const { Retrying } = require('./neobank-retry');

const TRANSFER = 'SELECT txn_processing.transfer($1, $2, $3, transaction_id => $4)';
const [dsn, a, b, c, d] = process.argv.slice(2);

// A place where both wait for each other, in their first attempt.
class Meeting {
  constructor() {
    this.waiting = [];
  }

  async meet() {
    if (this.waiting.length % 2 === 0) {
      await new Promise((resolve) => this.waiting.push(resolve));
    } else {
      this.waiting.pop()();
    }
  }

  once() {
    let first = true;
    return async () => {
      if (first) {
        first = false;
        await this.meet();
      }
    };
  }
}

async function exercise(number, meeting) {
  const onRetry = (error) => console.log(`retry ${/^[0-9A-Z]{5}$/.test(error.code) ? error.code : 'lost'}`);
  const bank = new Retrying(() => new Client({ connectionString: dsn }), { attempts: 40, onRetry });

  // Somebody else has the account for a while: 55P03 by lock_timeout.
  await bank.transfer(a, b, '0.10');

  // Between the parts both wait, outside of transactions: who is ahead may not hold what the other one still wants.
  await meeting.meet();

  // Both read both balances, and decide by them: 40001.
  let met = meeting.once();
  const key = randomUUID();
  await bank.run(
    async (client) => {
      const text = 'SELECT round(sum(current_balance) / 1000, 2) AS part FROM banking.accounts WHERE account_id IN ($1, $2)';
      const { part } = (await client.query(text, [a, b])).rows[0];
      await met();
      await client.query(TRANSFER, [a, b, part, key]);
    },
    { isolation: 'SERIALIZABLE' },
  );

  await meeting.meet();
  // Two postings in one transaction, in opposite order: 40P01.
  met = meeting.once();
  const keys = [randomUUID(), randomUUID()];
  const pairs = number ? [[a, b], [c, d]] : [[c, d], [a, b]];
  await bank.run(async (client) => {
    await client.query(TRANSFER, [...pairs[0], '0.10', keys[0]]);
    await met();
    await client.query(TRANSFER, [...pairs[1], '0.10', keys[1]]);
  });

  await meeting.meet();
  // The connection ends before the commit: nothing was done.
  const lost = randomUUID();
  let attempts = 0;
  await bank.run(async (client) => {
    attempts += 1;
    await client.query(TRANSFER, [a, b, '0.10', lost]);
    if (attempts === 1) await client.query('SELECT pg_terminate_backend(pg_backend_pid())');
  });
  assert.strictEqual(attempts, 2);

  // The connection ends after the commit, before its answer: it was done, and is not done twice.
  const unanswered = randomUUID();
  const first = await bank.transfer(a, b, '0.10', unanswered);
  await bank.close();
  assert.strictEqual(await bank.transfer(a, b, '0.10', unanswered), first);

  // What the bank refuses is refused at once.
  let calls = 0;
  await assert.rejects(
    bank.run(async (client) => {
      calls += 1;
      await client.query(TRANSFER, [a, b, '1000000', randomUUID()]);
    }),
    { code: 'NB001' },
  );
  assert.strictEqual(calls, 1);
  await bank.close();
  return 6;
}

async function main() {
  const meeting = new Meeting();
  const postings = await Promise.all([0, 1].map((number) => exercise(number, meeting)));
  console.log(`done ${postings[0] + postings[1]}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
