'use strict';

// Transactions that are repeated where PostgreSQL asks for it. For node-postgres (pg).
//
//     const { Retrying } = require('./neobank-retry');
//     const bank = new Retrying(() => new Client({ connectionString }));
//     const transactionId = await bank.transfer(fromAccount, toAccount, '12.50');
//
// Three rules, which docs/concurrency.md explains:
//
// 1. What is repeated is the whole transaction from its first statement on, reads included: `work` is called again.
// 2. What moves money carries an id that is drawn once, before the first attempt: a repetition of what had been done
//    already answers the first result.
// 3. The wait grows with each attempt and is drawn at random, so that those who collided do not collide again.
//
// Amounts are strings, as pg reads numeric: a JavaScript number is a float.

const { randomUUID } = require('node:crypto');
const { setTimeout: pause } = require('node:timers/promises');

// serialization_failure, deadlock_detected, lock_not_available.
const RETRIED = new Set(['40001', '40P01', '55P03']);
const LOST = /^(08...|57P0[123]|ECONNRESET|ECONNREFUSED|EPIPE|ENOENT|ETIMEDOUT)$/;

// Whether it is unknown what became of the transaction.
function isLost(error) {
  return error.code === undefined
    ? /connection terminated|client was closed|not queryable/i.test(error.message)
    : LOST.test(error.code);
}

// Runs work on a connection of its own, which it opens again where it is lost. One transaction at a time.
class Retrying {
  // makeClient: makes a client that is not connected yet; attempts: at the most, the first one included;
  // firstWaitMs, mostWaitMs: bounds of the pause; onRetry(error, attempt): called before each pause.
  constructor(makeClient, { attempts = 10, firstWaitMs = 10, mostWaitMs = 1000, onRetry } = {}) {
    Object.assign(this, { makeClient, attempts, firstWaitMs, mostWaitMs, onRetry, client: null });
  }

  // work(client) runs in a transaction of its own and may run several times: it must change nothing but the database,
  // or things that may be changed twice. Answers what it answers.
  async run(work, { isolation = 'READ COMMITTED' } = {}) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const client = await this.open();
        await client.query(`BEGIN ISOLATION LEVEL ${isolation}`);
        const answer = await work(client);
        await client.query('COMMIT');
        return answer;
      } catch (error) {
        const lost = isLost(error);
        await (lost ? this.close() : this.rollback());
        if (!(lost || RETRIED.has(error.code)) || attempt + 1 >= this.attempts) throw error;
        if (this.onRetry) this.onRetry(error, attempt);
        // Full jitter: anything from nothing to a bound that doubles.
        await pause(Math.random() * Math.min(this.mostWaitMs, this.firstWaitMs * 2 ** attempt));
      }
    }
  }

  async open() {
    if (this.client === null) {
      const client = this.makeClient();
      // A connection that ends while nothing is asked of it must not end the program.
      client.on('error', () => {
        if (this.client === client) this.client = null;
      });
      await client.connect();
      this.client = client;
    }
    return this.client;
  }

  async rollback() {
    if (this.client === null) return;
    try {
      await this.client.query('ROLLBACK');
    } catch {
      await this.close();
    }
  }

  async close() {
    const { client } = this;
    this.client = null;
    if (client !== null) await client.end().catch(() => {});
  }

  // One transfer, once, whatever happens to the connection. Give the transactionId where the caller may come again by
  // itself, for one after a crash, and keep it before the call. amount: a string.
  async transfer(fromAccount, toAccount, amount, transactionId = randomUUID()) {
    return this.run(async (client) => {
      const text = 'SELECT txn_processing.transfer($1, $2, $3, transaction_id => $4) AS id';
      return (await client.query(text, [fromAccount, toAccount, amount, transactionId])).rows[0].id;
    });
  }
}

module.exports = { Retrying, isLost };
