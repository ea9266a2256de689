/**
 * Who must have heard what, where members lose their connection and come back, and publishers too.
 *
 * Knows nothing of servers: it is told what happened, in the order in which the test's one process saw it. Delivery is at
 * most once, so a member that is away misses what is published meanwhile: the ledger says exactly what that was, and
 * everything else that is missing, double, out of order or heard too late is wrong.
 */

import { disagreements } from '../cluster/checker.mjs';

/**
 * A message is on its way for a moment after its publisher was told that it was taken: a member that loses its connection
 * then may miss it, one that joins then may hear it. Far more than it takes, on a machine that is busy.
 */
const ON_THE_WAY = 1_000;

/** Keeps a record and judges it. */
export class Ledger {
  #clock;
  /** Messages by room, then publisher: `{sent, taken}`, moments; `taken` is missing where nobody knows whether it was. */
  #rooms = new Map();
  #members = new Map();

  constructor(clock = () => performance.now()) {
    this.#clock = clock;
  }

  #messages(room, publisher) {
    if (!this.#rooms.has(room)) this.#rooms.set(room, new Map());
    const publishers = this.#rooms.get(room);
    if (!publishers.has(publisher)) publishers.set(publisher, []);
    return publishers.get(publisher);
  }

  /** A publisher sends its next message to a room; the number is part of it. */
  sends(room, publisher) {
    return this.#messages(room, publisher).push({ sent: this.#clock() }) - 1;
  }

  /** It was told that the message was taken. Until then nobody knows who will hear it. */
  taken(room, publisher, number) {
    this.#messages(room, publisher)[number].taken = this.#clock();
  }

  #member(name) {
    if (!this.#members.has(name)) this.#members.set(name, { name, room: undefined, stays: [], outside: [], order: [] });
    return this.#members.get(name);
  }

  /** A member asks to join its room, on a connection that is new. */
  joining(name, room) {
    this.#member(name).room = room;
    this.#member(name).stays.push({ asked: this.#clock(), joined: undefined, ended: undefined, heard: new Map() });
  }

  /** Its join was answered: what is sent from now on must come. */
  joined(name) {
    this.#members.get(name).stays.at(-1).joined = this.#clock();
  }

  /** Its connection is gone. */
  away(name) {
    const stay = this.#members.get(name)?.stays.at(-1);
    if (stay) stay.ended ??= this.#clock();
  }

  /** A message has come. */
  hears(name, room, publisher, number) {
    const member = this.#member(name);
    const stay = member.stays.at(-1);
    if (!stay || stay.ended !== undefined || member.room !== room) {
      member.outside.push(`${publisher} ${number} of ${room}`);
      return;
    }
    member.order.push(`${room} ${publisher} ${number}`);
    if (!stay.heard.has(publisher)) stay.heard.set(publisher, []);
    stay.heard.get(publisher).push({ number, at: this.#clock() });
  }

  /** Members in a room who have not heard all that was taken since they joined; in words. */
  waiting() {
    const found = [];
    for (const { name, room, stays } of this.#members.values()) {
      const stay = stays.at(-1);
      if (!stay || stay.ended !== undefined) continue;
      if (stay.joined === undefined) found.push(`${name} has not joined`);
      for (const [publisher, messages] of this.#rooms.get(room) ?? []) {
        const heard = new Set(stay.heard.get(publisher)?.map(({ number }) => number));
        const missing = messages.findIndex(({ sent, taken }, number) => taken !== undefined && sent > stay.joined && !heard.has(number));
        if (missing >= 0) found.push(`${name} waits for ${publisher} ${missing} of ${room}`);
      }
    }
    return found;
  }

  /**
   * What there is to say in the end, once nobody is `waiting`: `complaints`, in words, and numbers.
   * `missed`: deliveries that members missed because they were away; `cut`: those of them that were on their way when the
   * connection went. `unknown`: messages of which their publisher never heard whether they were taken. `total`: members must
   * agree on one order.
   */
  verdict({ total = true } = {}) {
    const report = { sent: 0, unknown: 0, heard: 0, missed: 0, cut: 0, stays: 0, complaints: [] };
    for (const publishers of this.#rooms.values()) {
      for (const messages of publishers.values()) {
        report.sent += messages.length;
        report.unknown += messages.filter(({ taken }) => taken === undefined).length;
      }
    }
    for (const member of this.#members.values()) {
      report.stays += member.stays.length;
      report.heard += member.order.length;
      report.complaints.push(...member.outside.map((message) => `${member.name} heard ${message}, where it was not`));
      for (const [publisher, messages] of this.#rooms.get(member.room) ?? []) judge(member, publisher, messages, report);
    }
    if (total) report.complaints.push(...disagreements([...this.#members.values()].map(({ order }) => order)));
    return report;
  }
}

/** What a member heard of one publisher, against what that sent. */
function judge({ name, room, stays }, publisher, messages, report) {
  const where = `${name} in ${room}, of ${publisher}`;
  const wrong = (text) => report.complaints.push(`${where}: ${text}`);
  const seen = new Set();
  let last = -1;
  for (const stay of stays) {
    let isFirst = true;
    for (const { number } of stay.heard.get(publisher) ?? []) {
      const message = messages[number];
      if (!message) wrong(`${number} was never sent`);
      else if (seen.has(number)) wrong(`${number} twice`);
      else if (number < last) wrong(`${number} after ${last}`);
      else if (message.taken !== undefined && message.taken < stay.asked - ON_THE_WAY) wrong(`${number} is from before it asked to join`);
      else if (!isFirst) hole(messages, last, number).forEach((lost) => wrong(`lost ${lost} between others`));
      isFirst = false;
      seen.add(number);
      last = Math.max(last, number);
    }
  }
  messages.forEach((message, number) => {
    if (seen.has(number) || message.taken === undefined || message.sent <= (stays[0].joined ?? Infinity)) return;
    const excuse = whyMissed(stays, message);
    if (excuse === undefined) wrong(`lost ${number}, sent while it was in the room`);
    else report.missed += 1;
    if (excuse === 'cut') report.cut += 1;
  });
}

/** Numbers between two that were heard one after the other, of messages that were taken. */
function hole(messages, before, after) {
  const found = [];
  for (let number = before + 1; number < after; number += 1) if (messages[number].taken !== undefined) found.push(number);
  return found;
}

/** `away` or `cut`, where a member had no connection, or lost it, between a message's sending and its coming. */
function whyMissed(stays, { sent, taken }) {
  for (const [index, { ended }] of stays.entries()) {
    const back = stays[index + 1]?.joined ?? Infinity;
    if (ended === undefined || sent >= back || taken < ended - ON_THE_WAY) continue;
    return sent < ended ? 'cut' : 'away';
  }
  return undefined;
}
