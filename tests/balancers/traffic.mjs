/** What clients do behind a balancer, and what must come of it. */

import assert from 'node:assert/strict';

import { MATRIX } from '../clients/clients.mjs';
import { binaries } from '../clients/samples.mjs';
import { plain } from '../clients/wrap.mjs';
import { Checker } from '../cluster/checker.mjs';
import { visit } from './behind.mjs';

/** Kinds of clients: every generation over every transport, and the one in Node that keeps cookies. */
export const KINDS = [...MATRIX, { generation: '4.8.4', transport: 'polling only', withCredentials: true }];

/** Close to engine.max_payload, with room for what stands around it; old clients that poll send binary as base64. */
const TEXT = 'x'.repeat(999_000);
const DATA = Buffer.alloc(740_000, 7);

const SAMPLES = Object.entries(binaries((bytes) => Buffer.from(bytes)));

/** Rooms, broadcasts, acknowledgements and binary: everybody hears everybody else, as it was sent. */
export async function talk(clients) {
  const sample = (client) => SAMPLES[clients.indexOf(client) % SAMPLES.length];
  await Promise.all(clients.map((client) => client.record('hello', 'bytes').done('join', ['hall', client.name])));
  await Promise.all(
    clients.map(async (client) => {
      const [name, args] = sample(client);
      await client.done('publish', 'hall', 'hello', client.name, { é: '😀' });
      await client.done('publish', 'hall', 'bytes', client.name, ...args);
      assert.deepEqual(await client.askAll('echo', name, ...args), [name, ...plain(args)], client.name);
    }),
  );
  const byName = (a, b) => (a[0] < b[0] ? -1 : 1);
  for (const client of clients) {
    const others = clients.filter((other) => other !== client);
    const heard = async (event) => [...(await client.heard(event, others.length))].sort(byName);
    assert.deepEqual(await heard('hello'), others.map(({ name }) => [name, { é: '😀' }]).sort(byName), client.name);
    assert.deepEqual(await heard('bytes'), others.map((other) => [other.name, ...plain(sample(other)[1])]).sort(byName), client.name);
    assert.deepEqual(await client.ask('leave', 'hall'), { ok: true, rooms: [client.name] });
  }
}

/** Messages close to the largest that is allowed: from every client to one, and from one to all. */
export async function sendLarge(clients) {
  const [witness, ...others] = clients;
  const heard = new Map(clients.map((client) => [client, []]));
  for (const client of clients) {
    // Not kept by `record`, which makes lists of numbers of bytes.
    client.socket.on('large', (from, value) => {
      const isWhole = typeof value === 'string' ? value === TEXT : DATA.equals(Buffer.from(value));
      heard.get(client).push(isWhole ? `${typeof value} of ${from}` : `something else of ${from}`);
      client.changed();
    });
    await client.done('join', client === witness ? 'one' : 'all');
  }
  // One after the other: limits.outbox holds four, and old clients need a while for each.
  const send = async (client, room, listeners) => {
    for (const value of [TEXT, DATA]) {
      const counts = listeners.map((listener) => heard.get(listener).length + 1);
      await client.done('publish', room, 'large', client.name, value);
      for (const [index, listener] of listeners.entries()) {
        await listener.until(`${listener.name} heard ${client.name}`, () => heard.get(listener).length >= counts[index]);
      }
    }
  };
  for (const client of others) await send(client, 'one', [witness]);
  await send(witness, 'all', others);
  for (const client of clients) {
    const expected = (client === witness ? others : [witness]).flatMap(({ name }) => [`string of ${name}`, `object of ${name}`]);
    assert.deepEqual(heard.get(client), expected, client.name);
  }
}

/** How many messages a publisher sends at once, and how many the slowest member may be behind. */
const BATCH = 10;
const BEHIND_MAX = 100;

/** Some text for a message: mostly a little, now and then more than fits into a packet of the network. */
const filler = (number) => 'x'.repeat(number % 50 === 0 ? 30_000 : number % 100);

/** Everything that happens to members of one room, and the checker that judges it. */
class Room {
  checker = new Checker();
  visits = 0;
  isOver = false;

  constructor(t, balancer) {
    this.t = t;
    this.balancer = balancer;
  }

  /** A client comes and joins. */
  async enter(kind) {
    const client = await visit(this.t, this.balancer, kind);
    client.numbers = new Map();
    client.socket.on('message', (publisher, number) => {
      this.checker.hears(client.name, publisher, number);
      client.numbers.set(publisher, number);
      client.changed();
    });
    this.checker.joining(client.name);
    await client.done('join', 'room');
    this.checker.joined(client.name);
    this.visits += 1;
    return client;
  }

  /** Publishes numbered messages until it is over, no faster than the slowest member hears them. */
  async publish(client, members) {
    const others = members.filter((member) => member !== client);
    for (let sent = 0; !this.isOver; ) {
      const answers = [];
      for (; answers.length < BATCH; sent += 1) {
        answers.push(client.done('publish', 'room', 'message', client.name, this.checker.sends(client.name), filler(sent)));
      }
      await Promise.all(answers);
      const keepsUp = (member) => (member.numbers.get(client.name) ?? -1) >= sent - BEHIND_MAX;
      await Promise.all(others.map((member) => member.until(`${member.name} keeps up with ${client.name}`, () => keepsUp(member))));
    }
  }

  /** Clients of these kinds come, stay for some messages, and go, one after the other. */
  async pass(kinds) {
    for (let index = 0; !this.isOver; index += 1) {
      const client = await this.enter(kinds[index % kinds.length]);
      await client.until('heard something', () => this.isOver || client.numbers.size > 0);
      this.checker.left(client.name);
      client.close();
    }
  }

  /** What is wrong once everybody has heard what was sent. */
  async verdict(members) {
    for (const member of members) {
      const owed = this.checker.owed(member.name);
      await member.until(`${member.name} heard all that was sent`, () => this.checker.hasHeard(member.name, owed)).catch((error) => {
        throw new Error(`${error.message}\n${this.checker.complaints().slice(0, 10).join('\n')}`);
      });
    }
    return [...this.checker.complaints({ total: true }), ...this.checker.stillOwed()].slice(0, 10);
  }
}

/**
 * Members of every kind hear numbered messages of several publishers among them for so long, while guests come and go:
 * nothing lost, doubled or reordered. Gives `{visits, deliveries}`.
 */
export async function converse(t, balancer, seconds) {
  const room = new Room(t, balancer);
  const members = await Promise.all(KINDS.map((kind) => room.enter(kind)));
  const publishers = members.filter((_, index) => index % 3 === 1);
  const work = [
    ...publishers.map((client) => room.publish(client, members)),
    room.pass(KINDS),
    room.pass([...KINDS].reverse()),
  ];
  const end = () => {
    room.isOver = true;
    for (const member of members) member.changed();
  };
  const timer = setTimeout(end, seconds * 1000);
  try {
    await Promise.all(work);
  } finally {
    clearTimeout(timer);
    end();
    await Promise.allSettled(work);
  }
  assert.deepEqual(await room.verdict(members), []);
  for (const member of members) {
    assert.deepEqual([member.disconnects, member.errors], [[], []], member.name);
    member.close();
  }
  return { visits: room.visits, deliveries: room.checker.heard };
}
