/**
 * Real Socket.IO servers, each a process that a test tells what to do.
 *
 * Must never signal a process it did not start, and never let a server's death go unnoticed.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { freeze } from '../clients/gateway.mjs';
import { within } from '../clients/wrap.mjs';
import { decode, encode } from './lines.mjs';

const PROGRAM = path.join(path.dirname(fileURLToPath(import.meta.url)), 'node-server-process.mjs');

/**
 * The servers there are: packages, and the clients they serve. `modern`: they answer the requests of
 * @socket.io/redis-adapter; the others ask and answer those of socket.io-redis.
 */
export const SERVERS = {
  'Node 4': { version: '4.8.4', adapter: 'adapter-8.3.0', redisLibrary: 'redis' },
  'Node 4, ioredis': { version: '4.8.4', adapter: 'adapter-8.3.0', redisLibrary: 'ioredis' },
  'Node 4, answering in private': { version: '4.8.4', adapter: 'adapter-8.3.0', publishOnSpecificResponseChannel: true },
  'Node 4, adapter 7': { version: '4.8.4', adapter: 'adapter-7.2.0', redisLibrary: 'redis' },
  'Node 2': { version: '2.5.1', adapter: 'legacy-adapter-5.4.0' },
  'Node 1': { version: '1.7.4', adapter: 'legacy-adapter-3.1.0' },
  'Node 1, adapter 2': { version: '1.7.4', adapter: 'legacy-adapter-2.0.1' },
  'Node 1.0': { version: '1.0.6', adapter: 'legacy-adapter-0.1.4' },
};

/** The client generations that each server generation serves. */
const CLIENTS = { 4: ['2.5.0', '4.8.4'], 2: ['1.7.4', '2.5.0'], 1: ['1.7.4'] };

/** Processes that run: none may outlive the test process, however that ends. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A running Socket.IO server. */
export class NodeServer {
  #child;
  #redis;
  #options;
  #asked = new Map();
  #ended = false;
  #log = '';
  #changed = new Set();

  /** What other servers' `serverSideEmit('note', …)` brought. */
  notes = [];

  /** Starts one and waits until it hears the others; it ends with the test. */
  static async start(t, redis, name, { namespaces = ['/'], key = 'socket.io', requestsTimeout = 5000 } = {}) {
    const server = new NodeServer();
    server.name = name;
    server.isGateway = false;
    server.version = SERVERS[name].version;
    server.isModern = server.version.startsWith('4.');
    server.clients = CLIENTS[server.version[0]];
    server.#redis = redis;
    server.#options = { ...SERVERS[name], redisPort: redis.port, namespaces, key, requestsTimeout };
    t.after(() => server.kill());
    await server.#launch();
    return server;
  }

  async #launch() {
    const child = spawn(process.execPath, [PROGRAM, JSON.stringify(this.#options)], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    running.add(child);
    child.stderr.on('data', (text) => (this.#log += text));
    child.stdin.on('error', () => {});
    child.once('close', (code, signal) => {
      running.delete(child);
      this.#ended = true;
      for (const { reject } of this.#asked.values()) reject(new Error(`${this.name} ended (${code ?? signal}):\n${this.#log}`));
    });
    createInterface({ input: child.stdout }).on('line', (line) => this.#told(decode(JSON.parse(line))));
    this.port = (await this.#answer('listening')).port;
    const { version, namespaces, key } = this.#options;
    // The oldest adapter has no channel for requests: its one pattern is there once a pattern is.
    if (version === '1.0.6') return;
    await this.#redis.joined(namespaces, key);
  }

  #told(message) {
    if ('note' in message) {
      this.notes.push(message.note);
      for (const look of [...this.#changed]) look();
      return;
    }
    const id = 'port' in message ? 'listening' : message.id;
    const waiting = this.#asked.get(id);
    this.#asked.delete(id);
    if ('error' in message) waiting.reject(new Error(message.error));
    else waiting.resolve('port' in message ? message : message.value);
  }

  #answer(id, what = 'listens') {
    const answered = new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      if (this.#ended) reject(new Error(`${this.name} has ended:\n${this.#log}`));
    });
    return within(answered, () => `${this.name}: ${what}\n${this.#log}`);
  }

  /** What clients connect to. */
  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  #nextId = 0;

  /** Has one of the process' actions done. `namespace` is `/` where none is given. */
  ask(action, parameters = {}) {
    const id = (this.#nextId += 1);
    const answered = this.#answer(id, action);
    this.#child.stdin.write(`${JSON.stringify(encode({ id, action, parameters: { namespace: '/', ...parameters } }))}\n`);
    return answered;
  }

  /** Emits to `{namespace, rooms, except, flags}`. */
  emit(to, ...args) {
    return this.ask('emit', { ...to, args });
  }

  /** Resolves to the notes of other servers once there are so many. */
  noted(count) {
    let look;
    const held = new Promise((resolve) => {
      look = () => this.notes.length >= count && resolve(this.notes);
      this.#changed.add(look);
      look();
    });
    return within(held, () => `${this.name} has ${count} notes, not ${JSON.stringify(this.notes)}`).finally(() => this.#changed.delete(look));
  }

  /** It hangs: connections stay open, nothing is answered. */
  hang() {
    return freeze(this.#child);
  }

  /** It goes on where it hung. */
  resume() {
    this.#child.kill('SIGCONT');
  }

  /** It dies at once. */
  async kill() {
    if (this.#ended) return;
    const closed = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await closed;
  }

  /** It dies at once, and the others have had time to count one less. */
  async vanish() {
    await this.kill();
    await this.#redis.left(this.#options.namespaces, this.#options.key);
  }
}
