/**
 * What every member of a room must have heard, from what was published and when it was in the room.
 *
 * Knows nothing of servers: it is told what happened, in the order in which the test's one process saw it, and says what
 * is wrong. What it may rely on: a message sent after a join was answered comes, unless the member leaves before; of one
 * publisher nothing is missing between the first and the last that a member heard while it was in the room.
 */

/** Keeps a record and judges it. */
export class Checker {
  /** Messages sent, by publisher: how many so far. */
  #sent = new Map();
  /** Members by name: `{name, stays: [{first, last, heard}], stray}`. */
  #members = new Map();

  /** A publisher sends its next message; the number is part of it. */
  sends(publisher) {
    const number = this.#sent.get(publisher) ?? 0;
    this.#sent.set(publisher, number + 1);
    return number;
  }

  #snapshot() {
    return new Map(this.#sent);
  }

  #member(name) {
    if (!this.#members.has(name)) this.#members.set(name, { name, stays: [], order: [], outside: [] });
    return this.#members.get(name);
  }

  /** A member asks to join: from now on messages may come. */
  joining(name) {
    const stay = { asked: this.#snapshot(), heard: new Map(), isOpen: true };
    this.#member(name).stays.push(stay);
  }

  /** Its join was answered: every message sent from now on must come. */
  joined(name) {
    this.#member(name).stays.at(-1).first = this.#snapshot();
  }

  /** What must have come before a member that leaves in peace may ask to: `[publisher, count]`. */
  owed(name) {
    const { first } = this.#member(name).stays.at(-1);
    return [...this.#snapshot()].filter(([publisher, count]) => publisher !== name && count > (first.get(publisher) ?? 0));
  }

  /** Whether everything up to these counts has come in this stay. */
  hasHeard(name, owed) {
    const { heard } = this.#member(name).stays.at(-1);
    return owed.every(([publisher, count]) => (heard.get(publisher)?.at(-1) ?? -1) >= count - 1);
  }

  /** Its leave was answered: nothing may come any more. */
  left(name) {
    this.#member(name).stays.at(-1).isOpen = false;
  }

  /** A message has come. */
  hears(name, publisher, number) {
    const member = this.#member(name);
    member.order.push(`${publisher} ${number}`);
    const stay = member.stays.at(-1);
    if (!stay?.isOpen) {
      member.outside.push(`${publisher} ${number}`);
      return;
    }
    if (!stay.heard.has(publisher)) stay.heard.set(publisher, []);
    stay.heard.get(publisher).push(number);
  }

  /** How much has been heard, by all. */
  get heard() {
    return [...this.#members.values()].reduce((sum, { order }) => sum + order.length, 0);
  }

  /** What is wrong, in words; empty where nothing is. `total`: all members must agree on one order. */
  complaints({ total = false } = {}) {
    const found = [...this.#members.values()].flatMap((member) => this.#aboutMember(member));
    if (total) found.push(...disagreements([...this.#members.values()].map(({ order }) => order)));
    return found;
  }

  #aboutMember({ name, stays, outside }) {
    const found = outside.map((message) => `${name} heard ${message} while it was not in the room`);
    stays.forEach((stay, index) => {
      for (const [publisher, numbers] of stay.heard) {
        const where = `${name}, stay ${index}, of ${publisher}`;
        if (publisher === name) found.push(`${where}: its own messages`);
        found.push(...aboutSequence(where, numbers));
        const from = stay.first?.get(publisher) ?? 0;
        if (numbers[0] > from) found.push(`${where}: lost ${from} to ${numbers[0] - 1}, sent after its join was answered`);
        const sent = this.#sent.get(publisher) ?? 0;
        if (numbers.some((number) => number >= sent)) found.push(`${where}: heard what was never sent`);
      }
    });
    return found;
  }

  /** The members that are still in the room must have heard everything since they joined. */
  stillOwed() {
    const names = [...this.#members.values()].filter(({ stays }) => stays.at(-1)?.isOpen).map(({ name }) => name);
    return names.filter((name) => !this.hasHeard(name, this.owed(name)));
  }
}

/**
 * What is wrong with the orders in which members heard messages; empty where one order of all fits them. It does if and
 * only if nothing comes both before and after something else: no cycle of "directly before".
 */
export function disagreements(orders) {
  const after = new Map();
  const waitsFor = new Map();
  for (const order of orders) {
    order.forEach((message, index) => {
      if (!after.has(message)) after.set(message, new Set());
      if (!waitsFor.has(message)) waitsFor.set(message, 0);
      const before = order[index - 1];
      if (before === undefined || after.get(before).has(message)) return;
      after.get(before).add(message);
      waitsFor.set(message, waitsFor.get(message) + 1);
    });
  }
  const free = [...waitsFor].filter(([, count]) => count === 0).map(([message]) => message);
  let placed = 0;
  while (free.length > 0) {
    const message = free.pop();
    placed += 1;
    for (const next of after.get(message)) {
      waitsFor.set(next, waitsFor.get(next) - 1);
      if (waitsFor.get(next) === 0) free.push(next);
    }
  }
  if (placed === after.size) return [];
  const some = [...waitsFor].filter(([, count]) => count > 0).slice(0, 5).map(([message]) => message);
  return [`members disagree on the order of ${after.size - placed} messages, ${some.join(', ')} among them`];
}

/** What is wrong with the numbers of one publisher in one stay: they must go up by one. */
function aboutSequence(where, numbers) {
  const found = [];
  const seen = new Set();
  numbers.forEach((number, index) => {
    const before = numbers[index - 1];
    if (seen.has(number)) found.push(`${where}: ${number} twice`);
    else if (before !== undefined && number < before) found.push(`${where}: ${number} after ${before}`);
    else if (before !== undefined && number > before + 1) found.push(`${where}: lost ${before + 1} to ${number - 1}`);
    seen.add(number);
  });
  return found;
}
