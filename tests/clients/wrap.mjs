/**
 * One wrapper for the sockets of every client generation, so that a test reads the same for 1.0.6 and 4.8.4.
 *
 * Pages load this file as it is: it must never import anything of Node, and never change what a stock client
 * sends or how it behaves.
 */

/** How long anything may take before a test gives up on it: far above what a loaded machine needs. */
export const DEADLINE = 20_000;

/** The promise's value, or an error that says what did not happen in time. */
export function within(promise, what, milliseconds = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${milliseconds} ms: ${what()}`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Resolves to what `look` gives once that is something: for what nobody tells of. */
export async function eventually(what, look) {
  const end = Date.now() + DEADLINE;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${DEADLINE} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A copy in which binary of every kind is `{bytes: […]}`, so that values of different generations compare equal. */
export function plain(value) {
  if (value instanceof ArrayBuffer) return { bytes: Array.from(new Uint8Array(value)) };
  if (ArrayBuffer.isView(value)) {
    return { bytes: Array.from(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)) };
  }
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  }
  return value;
}

/** A socket of any generation, with what it heard kept in order. */
export class Client {
  #heard = new Map();
  #waiting = new Set();

  /** Wraps a socket that was just made: its events must not have been given out yet. */
  constructor(socket) {
    this.socket = socket;
    /** Why the socket was disconnected, each time. */
    this.disconnects = [];
    /** What refused or broke the connection: errors of generations 3 and 4, whatever 1 and 2 hand over. */
    this.errors = [];
    /** Everything recorded, over all event names, in the order of arrival. */
    this.everything = [];
    const note = (list) => (item) => {
      list.push(item);
      this.changed();
    };
    socket.on('connect', () => this.changed());
    socket.on('disconnect', note(this.disconnects));
    socket.on('connect_error', note(this.errors));
    // Where generations 1 and 2 report a refused namespace; a plain event in 3 and 4.
    socket.on('error', note(this.errors));
  }

  /** The socket's id, as its own client knows it; the oldest clients know their session's alone. */
  get id() {
    return this.socket.id ?? this.socket.io.engine?.id;
  }

  /** The name of the transport that carries the session now. */
  get transport() {
    return this.socket.io.engine.transport.name;
  }

  /** Looks again at everything that is waited for. */
  changed() {
    for (const look of [...this.#waiting]) look();
  }

  /** Resolves once the condition holds; it is looked at whenever something happens on this socket. */
  until(what, condition) {
    let look;
    const held = new Promise((resolve, reject) => {
      look = () => {
        try {
          if (condition()) resolve();
        } catch (error) {
          reject(error);
        }
      };
      this.#waiting.add(look);
      look();
    });
    const story = () =>
      `${what}; disconnects: ${JSON.stringify(this.disconnects)}, errors: ${this.errors.map((error) => error?.message ?? JSON.stringify(error))}`;
    return within(held, story).finally(() => this.#waiting.delete(look));
  }

  /** Resolves once connected, rejects when the connection is refused. */
  connected() {
    return this.until('connected', () => {
      if (this.errors.length > 0) throw new Error(`refused: ${this.errors[0]?.message ?? this.errors[0]}`);
      return this.socket.connected;
    });
  }

  /** Resolves to the first error that refused or broke the connection. */
  async refused() {
    await this.until('refused', () => this.errors.length > 0);
    return this.errors[0];
  }

  /** Resolves once the session has moved to WebSocket. */
  async upgraded() {
    const { engine } = this.socket.io;
    engine.on('upgrade', () => this.changed());
    await this.until('upgraded to WebSocket', () => engine.transport.name === 'websocket');
  }

  /** Resolves to the reason once disconnected. */
  async disconnected() {
    await this.until('disconnected', () => this.disconnects.length > 0);
    return this.disconnects[0];
  }

  /** Keeps these events from now on, whatever their arguments. */
  record(...names) {
    for (const name of names) {
      if (this.#heard.has(name)) continue;
      const list = [];
      this.#heard.set(name, list);
      this.socket.on(name, (...args) => {
        const kept = args.map(plain);
        list.push(kept);
        this.everything.push([name, ...kept]);
        this.changed();
      });
    }
    return this;
  }

  /** The argument lists of an event heard so far. */
  all(name) {
    const list = this.#heard.get(name);
    if (!list) throw new Error(`${name} was never recorded: record it before it can come`);
    return list;
  }

  /** Resolves to the argument lists of an event once there are at least `count`. */
  async heard(name, count = 1) {
    const list = this.all(name);
    await this.until(`heard ${count} × ${name} (${list.length} so far)`, () => list.length >= count);
    return list;
  }

  /** Emits, and resolves to all arguments of the acknowledgement. */
  askAll(event, ...args) {
    const answer = new Promise((resolve) => {
      this.socket.emit(event, ...args, (...answers) => resolve(answers.map(plain)));
    });
    return within(answer, () => `an acknowledgement of ${event} ${JSON.stringify(args).slice(0, 200)}`);
  }

  /** Emits, and resolves to the first argument of the acknowledgement. */
  async ask(event, ...args) {
    return (await this.askAll(event, ...args))[0];
  }

  /** As `ask`, where anything but `ok: true` is an error. */
  async done(event, ...args) {
    const answer = await this.ask(event, ...args);
    if (answer?.ok !== true) throw new Error(`${event} was refused: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Texts of the Socket.IO packets that arrive from now on, as they were on the wire. */
  raw() {
    const texts = [];
    this.socket.io.engine.on('packet', (packet) => {
      if (packet.type === 'message' && typeof packet.data === 'string') {
        texts.push(packet.data);
        this.changed();
      }
    });
    return texts;
  }

  /** Leaves for good: no reconnection, no namespace left open. */
  close() {
    const manager = this.socket.io;
    this.socket.disconnect();
    const shut = manager._close ?? manager.close;
    if (manager.engine) shut.call(manager);
  }
}
