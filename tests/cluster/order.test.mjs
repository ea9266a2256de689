/**
 * Three servers, eight publishers, members that come and go: nothing is lost, doubled or reordered. Where all servers are
 * gateways, all members agree on one order too; real servers give their own members what they publish first.
 */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Checker } from './checker.mjs';
import { connect, fleet, GATEWAY } from './fleet.mjs';

const FLEETS = [
  ['Node 4', 'Node 4, ioredis', 'Node 4, adapter 7'],
  ['Node 2', 'Node 2', 'Node 4'],
  [GATEWAY, GATEWAY, GATEWAY],
  [GATEWAY, 'Node 4', GATEWAY],
  [GATEWAY, GATEWAY, 'Node 2'],
  ['Node 2', GATEWAY, 'Node 4'],
];

const PUBLISHERS = 8;
const MESSAGES = 500;
/** How many messages a publisher sends before it waits until they are taken. */
const BATCH = 10;
const GUESTS = 9;
const SEED = Number(process.env.SEED ?? 1);

/** A generator of numbers in [0, 1), the same for the same seed. */
function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Publishes all its messages, some at a time. */
async function publish(checker, client) {
  for (let sent = 0; sent < MESSAGES; sent += BATCH) {
    const answers = [];
    for (let turn = 0; turn < BATCH; turn += 1) {
      answers.push(client.done('publish', 'room', 'message', client.name, checker.sends(client.name)));
    }
    await Promise.all(answers);
  }
}

async function join(checker, client) {
  checker.joining(client.name);
  await client.done('join', 'room');
  checker.joined(client.name);
}

/** Leaves: in peace, with everything in hand that was sent before, or all of a sudden. */
async function leave(checker, client, isSudden) {
  if (!isSudden) {
    const owed = checker.owed(client.name);
    await client.until('heard all that was sent before it left', () => checker.hasHeard(client.name, owed));
  }
  const answer = await new Promise((resolve) => {
    client.socket.emit('leave', 'room', (given) => {
      // At once: what stands behind the answer in the same read must not come.
      checker.left(client.name);
      resolve(given);
    });
  });
  assert.equal(answer.ok, true, client.name);
}

/** Comes and goes until the publishers are done, and stays in the end. */
async function visit(checker, client, random, isOver) {
  let stays = 0;
  for (;;) {
    await join(checker, client);
    stays += 1;
    if (isOver()) return stays;
    const wanted = client.all('message').length + Math.floor(random() * 300);
    await client.until('heard some more', () => isOver() || client.all('message').length >= wanted);
    if (isOver()) return stays;
    await leave(checker, client, random() < 0.5);
  }
}

for (const kinds of FLEETS) {
  describe(kinds.join(' · '), () => {
    const cluster = fleet(kinds);

    it(`${PUBLISHERS} × ${MESSAGES} messages while ${GUESTS} members come and go (SEED=${SEED})`, async (t) => {
      const checker = new Checker();
      const random = seeded(SEED);
      const member = async (role, index) => {
        const server = cluster.servers[index % cluster.servers.length];
        const client = await connect(t, server, server.clients[index % server.clients.length], { events: ['message'] });
        client.name = `${role} ${index}, ${client.name}`;
        client.socket.on('message', (publisher, number) => {
          checker.hears(client.name, publisher, number);
          client.changed();
        });
        return client;
      };
      const many = (role, count) => Promise.all(Array.from({ length: count }, (_, index) => member(role, index)));
      const [publishers, guests] = [await many('publisher', PUBLISHERS), await many('guest', GUESTS)];
      await Promise.all(publishers.map((client) => join(checker, client)));

      let isOver = false;
      const visits = guests.map((client) => visit(checker, client, random, () => isOver));
      // A guest that fails is reported once all are done; it must not end the process before.
      for (const visit of visits) visit.catch(() => {});
      await Promise.all(publishers.map((client) => publish(checker, client)));
      isOver = true;
      for (const client of guests) client.changed();
      const stays = await Promise.all(visits);
      for (const client of [...publishers, ...guests]) {
        const owed = checker.owed(client.name);
        await client.until('heard all that was sent', () => checker.hasHeard(client.name, owed)).catch((error) => {
          throw new Error(`${client.name}: ${error.message}\n${checker.complaints().slice(0, 10).join('\n')}`);
        });
      }
      const total = kinds.every((kind) => kind === GATEWAY);
      assert.deepEqual(checker.complaints({ total }).slice(0, 10), []);
      assert.deepEqual(checker.stillOwed(), []);
      assert.ok(stays.every((count) => count > 1), `nobody came and went: ${stays}`);
      t.diagnostic(`${checker.heard} deliveries, ${stays.reduce((sum, count) => sum + count)} stays`);
    });
  });
}
