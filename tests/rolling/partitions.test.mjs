/** Cables are cut between gateways and Redis, in both directions and in one, and between gateways. */

import { Host, REDIS } from './hosts.mjs';

import assert from 'node:assert/strict';
import { it } from 'node:test';

import { Redis } from '../cluster/redis.mjs';
import { connect } from '../cluster/fleet.mjs';
import { metric, startNode } from './nodes.mjs';
import { Polling } from './polling.mjs';
import { backwards, until } from './until.mjs';

/** Promises: a Redis that is silent is found, and all is well again after it is back. */
const [FOUND, HEALED] = [3_000, 2_000];

/**
 * A link between gateways is given up after five seconds of silence, as heartbeats are, a new one after one, and for a
 * second after that nobody waits. The rest is for a machine that is busy.
 */
const [LINK_GIVEN_UP, NO_LINK, AT_ONCE] = [7_000, 2_000, 500];

/** Time in which others take a gateway for dead: it is not heard of for so many seconds. */
const DEAD = 6_000;

/** Admin ports that are not on loopback want keys, though metrics are shown without. */
const KEYS = 'keys = ["0123456789abcdef0123456789abcdef"]';

/** Two gateways on hosts of their own, and clients of them that publish numbers to one room and hear each other. */
async function cluster(t, gateways = 2) {
  const nodes = [];
  const hosts = [];
  for (let index = 0; index < gateways; index += 1) hosts.push(await Host.make(t));
  const redis = await Redis.start(t, { host: REDIS });
  for (const [index, host] of hosts.entries()) {
    const { address, inside } = host;
    nodes.push(await startNode(t, redis, { name: `gateway-${index + 1}`, host: address, inside, admin: KEYS }));
  }
  const talkers = [];
  for (const node of nodes) {
    for (const kind of [{ generation: '4.8.4' }, { generation: '4.8.4', transport: 'polling only' }, { generation: '2.5.0' }]) {
      talkers.push(new Talker(node, await connect(t, node, kind.generation, { ...kind, events: ['number'] })));
    }
  }
  for (const { client } of talkers) await client.done('join', 'room');
  t.after(() => talkers.forEach((talker) => talker.stop()));
  return { redis, hosts, nodes, talkers };
}

/** A client that publishes number after number, each as soon as the one before was answered and a little later. */
class Talker {
  #timer;
  /** How its messages were answered, in order: `{sent, took, local}`. */
  answers = [];
  refused = [];
  #number = 0;

  constructor(node, client) {
    this.node = node;
    this.client = client;
  }

  start() {
    this.#timer = setInterval(() => {
      const number = this.#number++;
      const sent = performance.now();
      this.client.socket.emit('publish', 'room', 'number', this.client.id, number, ({ ok, local = false, error, message }) => {
        this.answers[number] = { sent, took: performance.now() - sent, local };
        if (!ok) this.refused.push(`${number} of ${this.client.name}: ${error} ${message}`);
      });
    }, 50);
  }

  stop() {
    clearInterval(this.#timer);
  }

  /** Resolves once all are answered. */
  async answered() {
    this.stop();
    await until('all is answered', () => this.#number === Object.keys(this.answers).length);
  }

  /** The numbers that it heard of another one. */
  of(other) {
    return this.client.all('number').filter(([from]) => from === other.client.id).map(([, number]) => number);
  }

  /** The next number of another one that it hears. */
  async hearsAgain(other) {
    const before = this.of(other).at(-1) ?? -1;
    // What is heard of before the change may still come.
    const now = other.answers.length;
    await until(`${this.client.name} hears ${other.client.name}`, () => this.of(other).some((number) => number > before && number >= now));
  }
}

const isUpward = (numbers) => numbers.every((number, index) => index === 0 || number > numbers[index - 1]);

/** Resolves once clients of one node have heard all that others of them published. */
async function allHeard(own) {
  const missing = () =>
    own.flatMap((talker) =>
      own.filter((other) => other !== talker).flatMap((other) => {
        const heard = new Set(talker.of(other));
        const lost = [...other.answers.keys()].filter((number) => !heard.has(number));
        return lost.length > 0 ? [`${talker.client.name} lacks ${lost} of ${other.client.name}`] : [];
      }),
    );
  const refused = () => own.flatMap(({ refused }) => refused);
  await until(() => `all is heard: ${[...missing(), ...refused()].join('; ')}`, () => missing().length === 0);
}

/** What must hold of all of it in the end: nobody lost its connection, nothing came twice or late, own ones heard all. */
function assertOrder(talkers) {
  for (const talker of talkers) {
    assert.deepEqual(talker.client.disconnects, [], talker.client.name);
    assert.deepEqual(talker.refused, []);
    for (const other of talkers) {
      const heard = talker.of(other);
      assert.ok(isUpward(heard), `${talker.client.name} heard ${heard} of ${other.client.name}`);
      if (other === talker || other.node !== talker.node) continue;
      assert.deepEqual(heard, [...other.answers.keys()], `${talker.client.name} of ${other.client.name} on its own node`);
    }
  }
}

/** Cuts for a time, and sees what a gateway and its clients make of it; heals, and sees that all is well. */
async function throughPartition(t, { talkers, nodes: [struck] }, { cut, heal, time }) {
  const [own, others] = [talkers.filter(({ node }) => node === struck), talkers.filter(({ node }) => node !== struck)];
  talkers.forEach((talker) => talker.start());
  for (const talker of talkers) for (const other of talkers) if (other !== talker) await talker.hearsAgain(other);

  const cutAt = performance.now();
  cut();
  await until('it knows', async () => (await metric(struck, 'roomcast_relay_up')) === 0);
  const found = performance.now() - cutAt;
  const ready = await fetch(`${struck.adminUrl}/readyz`);
  assert.deepEqual([ready.status, await ready.json()], [200, { ready: true, degraded: ['redis'] }]);
  // Its clients hear each other, and so do the others'.
  const isLocal = () => own.every(({ answers }) => answers.some((answer) => answer?.local && answer.sent > cutAt + time));
  await until('what is published goes to its own', isLocal);
  for (const side of [own, others]) for (const talker of side) for (const other of side) if (other !== talker) await talker.hearsAgain(other);

  const healedAt = performance.now();
  heal();
  const again = own.flatMap((talker) => others.flatMap((other) => [talker.hearsAgain(other), other.hearsAgain(talker)]));
  await Promise.all(again);
  const healed = performance.now() - healedAt;
  for (const talker of talkers) await talker.answered();
  // Redis may count the connection that was given up for a while; a question waits for whoever that is.
  const isCounted = async ({ client }) => (await client.done('members', 'room')).total === talkers.length;
  await Promise.all([own[0], others[0]].map((talker) => until('everybody is counted again', () => isCounted(talker))));
  const counted = performance.now() - healedAt;
  const slowest = Math.max(...own.flatMap(({ answers }) => answers.map(({ took }) => took)));
  t.diagnostic(`found after ${Math.round(found)} ms, slowest answer ${Math.round(slowest)} ms, all is well ${Math.round(healed)} ms after, everybody counted ${Math.round(counted)} ms after`);
  await allHeard(own);
  assertOrder(talkers);
  assert.ok(others.every(({ answers }) => answers.every(({ local }) => !local)), 'the others have Redis');
  assert.equal(await metric(struck, 'roomcast_relay_up'), 1);
  assert.ok(found < FOUND, `found after ${found} ms`);
  assert.ok(slowest < FOUND, `an answer took ${slowest} ms`);
  assert.ok(healed < HEALED, `all was well after ${healed} ms`);
}

it('a gateway that is cut from Redis serves its own, and is one of all again', async (test) => {
  const t = backwards(test);
  const all = await cluster(t);
  const [host] = all.hosts;
  await throughPartition(t, all, { time: DEAD, cut: () => host.cutFrom(REDIS), heal: () => host.heal() });
  assert.ok((await metric(all.nodes[0], 'roomcast_relay_gaps_total')) > 0, 'it knows that it missed something');
});

it('a gateway that reaches Redis but hears nothing of it finds out, too', async (test) => {
  const t = backwards(test);
  const all = await cluster(t);
  const [host] = all.hosts;
  const cut = () => host.cut({ input: [`ip saddr ${REDIS}`] });
  await throughPartition(t, all, { time: 1_000, cut, heal: () => host.heal() });
});

it('a gateway whose subscriptions alone are silent connects anew', async (test) => {
  const t = backwards(test);
  const { hosts: [host], nodes: [struck], talkers, redis } = await cluster(t);
  talkers.forEach((talker) => talker.start());
  for (const talker of talkers) for (const other of talkers) if (other !== talker) await talker.hearsAgain(other);

  const lines = `${await redis.command('CLIENT', 'LIST')}`.split('\n');
  const line = lines.find((text) => text.includes(` addr=${host.address}:`) && / p?sub=[1-9]/.test(text));
  const [, port] = / addr=[^ ]*:(\d+) /.exec(line);
  const cutAt = performance.now();
  host.cut({ input: [`ip saddr ${REDIS} tcp dport ${port}`] });
  await until('it knows', async () => (await metric(struck, 'roomcast_relay_gaps_total')) > 0);
  const found = performance.now() - cutAt;
  for (const talker of talkers) for (const other of talkers) if (other !== talker) await talker.hearsAgain(other);
  for (const talker of talkers) await talker.answered();
  const own = talkers.filter(({ node }) => node === struck);
  await allHeard(own);
  t.diagnostic(`found after ${Math.round(found)} ms`);
  assertOrder(talkers);
  assert.ok(found < FOUND, `found after ${found} ms`);
});

it('gateways that are cut from each other hurt requests that are forwarded, and nothing else', async (test) => {
  const t = backwards(test);
  const { hosts: [host], nodes: [near, far], talkers } = await cluster(t);
  const session = await Polling.open(far.url);
  assert.deepEqual((await session.post(near.url, '40')).body, 'ok');
  assert.match((await session.poll(near.url)).body, /^40/);
  talkers.forEach((talker) => talker.start());

  host.cutFrom(far.host);
  const first = await session.post(near.url, '42["join","room"]');
  const next = [await session.post(near.url, '42["join","room"]'), await session.upgrade(near.url)];
  t.diagnostic(`refused after ${[first, ...next].map(({ took }) => `${Math.round(took)} ms`).join(', ')}`);
  for (const { status, retryAfter } of [first, ...next]) assert.deepEqual([status, retryAfter > 0], [503, true]);
  assert.ok(first.took < LINK_GIVEN_UP && next[0].took < NO_LINK && next[1].took < AT_ONCE);
  // The session is there as before, and so are all others.
  assert.equal((await session.post(far.url, '42["join","other"]')).status, 200);
  for (const talker of talkers) for (const other of talkers) if (other !== talker) await talker.hearsAgain(other);
  assert.deepEqual([await metric(near, 'roomcast_relay_up'), await metric(near, 'roomcast_cluster_nodes')], [1, 2]);

  const healedAt = performance.now();
  host.heal();
  await until('it forwards again', async () => (await session.post(near.url, '42["join","other"]')).status === 200);
  t.diagnostic(`forwarded again after ${Math.round(performance.now() - healedAt)} ms`);
  for (const talker of talkers) await talker.answered();
  assertOrder(talkers);
});

it('a session of a host that has vanished is refused, and then unknown', async (test) => {
  const t = backwards(test);
  const { hosts: [, host], nodes: [near, far] } = await cluster(t);
  const session = await Polling.open(far.url);
  assert.equal((await session.post(near.url, '40')).body, 'ok');
  const vanishedAt = performance.now();
  host.cut({ input: ['meta l4proto tcp'], output: ['meta l4proto tcp'] });
  const first = await session.poll(near.url);
  assert.deepEqual([first.status, first.took < LINK_GIVEN_UP], [503, true], `${first.status} after ${first.took} ms`);
  const seen = [];
  const isUnknown = async () => {
    seen.push(await session.poll(near.url));
    return seen.at(-1).status !== 503;
  };
  await until('the session is unknown', isUnknown);
  t.diagnostic(`unknown after ${Math.round(performance.now() - vanishedAt)} ms`);
  assert.deepEqual([seen.at(-1).status, JSON.parse(seen.at(-1).body).code], [400, 1]);
  assert.ok(seen.every(({ took }) => took < NO_LINK));
});
