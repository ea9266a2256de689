/**
 * Stock clients that come back by themselves: members of rooms, publishers, and what became of their connections.
 *
 * Must never help a client along: it comes back as its library does.
 */

import { makeEmitter } from '../cluster/emitters.mjs';
import { start } from '../clients/clients.mjs';
import { until } from './until.mjs';

/** How clients come back: after 100 to 300 ms, then after at most a second. */
const RECONNECTION = { reconnection: true, reconnectionDelay: 200, reconnectionDelayMax: 1_000, randomizationFactor: 0.5 };

/** The longest that a client waits before its first attempt. */
export const RECONNECTION_DELAY = RECONNECTION.reconnectionDelay * (1 + RECONNECTION.randomizationFactor);

/** Reasons for which clients lose connections that a server or a network ended; "io server disconnect" would be final. */
const TRANSPORT_REASONS = new Set(['transport close', 'transport error']);

/** Every kind of client, and how many of each there are in a crowd of a hundred. */
const KINDS = [
  ['4.8.4', 'WebSocket only', 36],
  ['4.8.4', 'polling, then WebSocket', 24],
  ['4.8.4', 'polling only', 14],
  ['2.5.0', 'WebSocket only', 5],
  ['2.5.0', 'polling, then WebSocket', 5],
  ['2.5.0', 'polling only', 4],
  ['1.7.4', 'WebSocket only', 4],
  ['1.7.4', 'polling, then WebSocket', 4],
  ['1.7.4', 'polling only', 4],
];

/** The kinds of so many clients, mixed the same way each time. */
export function kinds(count, transports = ['WebSocket only', 'polling, then WebSocket', 'polling only']) {
  const chosen = KINDS.filter(([, transport]) => transports.includes(transport));
  const weight = chosen.reduce((sum, [, , share]) => sum + share, 0);
  // Each kind in turn, as soon as it is furthest behind its share.
  const given = chosen.map(() => 0);
  return Array.from({ length: count }, (_, index) => {
    const behind = chosen.map(([, , share], kind) => (share / weight) * (index + 1) - given[kind]);
    const kind = behind.indexOf(Math.max(...behind));
    given[kind] += 1;
    const [generation, transport] = chosen[kind];
    return { generation, transport };
  });
}

/** A client that is there most of the time. */
class Participant {
  /** Milliseconds from each loss of the connection to the next one. */
  gaps = [];
  /** When it was connected last. */
  since;
  /** Disconnects of kinds that should not be, and refused events. */
  complaints = [];
  /** Attempts to connect that failed. */
  refusals = [];
  /** Sessions that were closed before the client had joined anything. */
  early = 0;
  #away;

  constructor(t, url, kind, name) {
    this.name = `${name} (${kind.generation}, ${kind.transport})`;
    this.client = start(t, url, { ...kind, ...RECONNECTION });
    this.socket = this.client.socket;
    this.socket.on('connect', () => {
      this.since = performance.now();
      if (this.#away !== undefined) this.gaps.push(this.since - this.#away);
      this.#away = undefined;
    });
    this.socket.on('disconnect', (reason) => {
      this.#away = performance.now();
      if (!TRANSPORT_REASONS.has(reason)) this.complaints.push(`${this.name} was disconnected: ${reason}`);
    });
    this.socket.on('connect_error', (error) => {
      // It was let in; its node closed the session before what it said first had come.
      if (error?.message === 'xhr post error') this.early += 1;
      else this.refusals.push(`${this.name} was not let in: ${error?.message ?? error}`);
    });
  }

  get isThere() {
    return this.socket.connected;
  }

  /** Its session and how that is carried. */
  get session() {
    const { engine } = this.socket.io;
    return `${engine?.id} by ${engine?.transport?.name}, ${engine?.readyState}`;
  }
}

/** Is in one room. */
class Member extends Participant {
  /** The part of ids that its node has given it. */
  tag;

  constructor(t, url, kind, name, room, ledger) {
    super(t, url, kind, name);
    this.socket.on('connect', () => {
      ledger.joining(this.name, room);
      this.socket.emit('join', room, (answer) => {
        this.tag = answer?.socket?.slice(0, 4);
        if (answer?.ok === true) ledger.joined(this.name);
        else this.complaints.push(`${this.name} could not join: ${JSON.stringify(answer)}`);
      });
    });
    this.socket.on('disconnect', () => ledger.away(this.name));
    this.socket.on('message', (to, publisher, number) => ledger.hears(this.name, to, publisher, number));
  }
}

/** Publishes to one room after the other, at a steady rate while it is connected. */
class Publisher extends Participant {
  #timer;
  /** Publishings that were answered, and those that went to its own node alone. */
  taken = 0;
  local = 0;

  constructor(t, url, kind, name, rooms, ledger, interval) {
    super(t, url, kind, name);
    let turn = 0;
    this.#timer = setInterval(() => {
      if (!this.socket.connected) return; // what a client sends then is kept until it is back, which is another test's
      const room = rooms[(turn += 1) % rooms.length];
      const number = ledger.sends(room, this.name);
      this.socket.emit('publish', room, 'message', room, this.name, number, (answer) => {
        if (answer?.ok !== true) return void this.complaints.push(`${this.name} could not publish: ${JSON.stringify(answer)}`);
        this.taken += 1;
        if (answer.local) this.local += 1;
        ledger.taken(room, this.name, number);
      });
    }, interval);
    t.after(() => this.stop());
  }

  stop() {
    clearInterval(this.#timer);
  }
}

/** A program without a server that publishes through Redis. */
class Emitting {
  #timer;

  static async start(t, redis, rooms, ledger, interval) {
    const emitting = new Emitting();
    const emitter = await makeEmitter(t, redis, '@socket.io/redis-emitter 5.1.0');
    let turn = 0;
    emitting.#timer = setInterval(() => {
      const room = rooms[(turn += 1) % rooms.length];
      const number = ledger.sends(room, 'emitter');
      emitter.emit({ rooms: [room] }, 'message', room, 'emitter', number);
      ledger.taken(room, 'emitter', number); // Redis is there, and it is never told more
    }, interval);
    t.after(() => emitting.stop());
    return emitting;
  }

  stop() {
    clearInterval(this.#timer);
  }
}

/** All of them. */
export class Crowd {
  #ledger;
  #sources = [];

  constructor(t, ledger) {
    this.t = t;
    this.#ledger = ledger;
    this.rooms = [];
    this.members = [];
    this.publishers = [];
  }

  get participants() {
    return [...this.members, ...this.publishers];
  }

  /** So many members, spread over rooms and URLs; resolves once all are in their rooms. */
  async gather(urls, count, { rooms = 10, transports, name = 'member' } = {}) {
    this.rooms = Array.from({ length: rooms }, (_, index) => `room ${index}`);
    for (const [index, kind] of kinds(count, transports).entries()) {
      const room = this.rooms[index % rooms];
      this.members.push(new Member(this.t, urls[index % urls.length], kind, `${name} ${index}`, room, this.#ledger));
      // All at once would be a storm of handshakes in the one process of the test.
      if (index % 20 === 19) await this.settled();
    }
    await this.settled();
  }

  /** So many publishers, each with a message every `interval` ms, and an emitter on Redis where one is given. */
  async publish(urls, count, { interval = 125, redis, transports, name = 'publisher' } = {}) {
    for (const [index, kind] of kinds(count, transports).entries()) {
      const url = urls[index % urls.length];
      this.publishers.push(new Publisher(this.t, url, kind, `${name} ${index}`, this.rooms, this.#ledger, interval));
    }
    if (redis) this.#sources.push(await Emitting.start(this.t, redis, this.rooms, this.#ledger, interval));
    await until('publishers are connected', () => this.publishers.every((publisher) => publisher.isThere));
  }

  /** These members go for good. */
  dismiss(condition) {
    for (const member of this.members.filter(condition)) {
      this.#ledger.away(member.name);
      member.client.close();
    }
    this.members = this.members.filter((member) => !condition(member));
  }

  /** Nothing more is sent. */
  silence() {
    for (const source of [...this.publishers, ...this.#sources]) source.stop();
  }

  /** Resolves once everybody is connected and has heard what is owed. */
  settled(milliseconds) {
    const lacking = () => [
      ...this.participants.filter((participant) => !participant.isThere).map(({ name }) => `${name} is not connected`),
      ...this.#ledger.waiting(),
    ];
    const sessions = () => this.participants.filter(({ name }) => lacking().some((text) => text.startsWith(name)));
    const details = () => sessions().slice(0, 5).map(({ name, session }) => `${name} is ${session}`);
    const what = () => `everybody is there and has heard everything: ${[...lacking().slice(0, 5), ...details()].join('; ')}`;
    return until(what, () => lacking().length === 0, milliseconds);
  }

  /** How long each was away, each time, in order. */
  get gaps() {
    return this.participants.flatMap(({ gaps }) => gaps).sort((a, b) => a - b);
  }

  /** What clients met that they never should. */
  get complaints() {
    return this.participants.flatMap(({ complaints }) => complaints);
  }

  /** Sessions that were closed before their clients had joined anything. */
  get early() {
    return this.participants.reduce((sum, { early }) => sum + early, 0);
  }

  /** Attempts to connect that failed. */
  get refusals() {
    return this.participants.flatMap(({ refusals }) => refusals);
  }
}

/** Numbers in words: median, 99th of a hundred, and the worst. */
export function spread(sorted) {
  if (sorted.length === 0) return 'none';
  const at = (share) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]);
  return `${sorted.length}: half within ${at(0.5)} ms, 99 % within ${at(0.99)} ms, all within ${at(1)} ms`;
}
