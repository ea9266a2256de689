/**
 * A real Redis for a test: on a free port of its own, in a directory of its own, gone when the test ends.
 *
 * Must never touch a Redis it did not start.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { freePort } from '../clients/gateway.mjs';
import { within } from '../clients/wrap.mjs';

const { Redis: Connection } = createRequire(import.meta.url)('ioredis');

/** Processes that run: none may outlive the test process, however that ends. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A running Redis. */
export class Redis {
  #child;
  #directory;
  #connection;
  /** How many servers must have subscribed to a request channel: what `joined` waits for. */
  #members = new Map();

  /** Starts one, stopped when the test ends. */
  static async start(t, { host = '127.0.0.1' } = {}) {
    const redis = new Redis();
    redis.host = host;
    redis.#directory = await mkdtemp(path.join(tmpdir(), 'roomcast-redis-'));
    t.after(() => redis.stop());
    for (let attempt = 1; ; attempt += 1) {
      redis.port = await freePort(host);
      try {
        await redis.launch();
        return redis;
      } catch (error) {
        // Somebody else can take a port between our look and Redis'.
        if (attempt === 3) throw error;
      }
    }
  }

  /** What gateways are given. */
  get url() {
    return `redis://${this.host}:${this.port}`;
  }

  /** Starts the process on the port it has, empty, and waits until it answers. */
  async launch() {
    const settings = { port: this.port, bind: this.host, 'protected-mode': 'no', dir: this.#directory, save: '', appendonly: 'no' };
    const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, `${value}`]);
    const child = spawn('redis-server', words, { stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (log += text));
    this.#child = child;
    running.add(child);
    const ended = new Promise((resolve, reject) => {
      child.once('error', (error) => reject(new Error(`cannot run redis-server: ${error.message}`)));
      child.once('close', () => {
        running.delete(child);
        reject(new Error(`redis-server ended:\n${log}`));
      });
    });
    ended.catch(() => {});
    const ready = new Promise((resolve) => {
      child.stdout.on('data', () => {
        if (log.includes('Ready to accept connections')) resolve();
      });
    });
    await within(Promise.race([ready, ended]), () => `redis-server is ready\n${log}`);
  }

  /** Runs a command; buffers stay buffers in what is sent. */
  command(name, ...words) {
    this.#connection ??= this.#connect();
    return within(this.#connection.call(name, ...words), () => `Redis answers ${name}`);
  }

  #connect() {
    const connection = new Connection({ port: this.port, host: this.host });
    // It comes back by itself; a command that is not answered in time is what a test reports.
    connection.on('error', () => {});
    return connection;
  }

  /** A connection of its own for a test that subscribes; closed when the test ends. */
  connect(t) {
    const connection = this.#connect();
    t.after(() => connection.disconnect());
    return connection;
  }

  /** Subscribers of a channel, without those by pattern. */
  async subscribers(channel) {
    return Number((await this.command('PUBSUB', 'NUMSUB', channel))[1]);
  }

  /** Resolves once a channel has so many subscribers. */
  async subscribed(channel, count) {
    let seen;
    const look = async () => {
      while ((seen = await this.subscribers(channel)) !== count) await pause(5);
    };
    await within(look(), () => `${channel} has ${count} subscribers, last seen ${seen}`);
  }

  /** Resolves once a gateway hears a room: it does a little after it was made to put its first socket there. Real servers hear all. */
  async hears(server, room, namespace = '/') {
    if (server.isGateway) await this.subscribed(`socket.io#${namespace}#${room}#`, 1);
  }

  /** One more server takes part in these namespaces: resolves once all there should be have subscribed. */
  joined(namespaces, key = 'socket.io') {
    return this.#count(namespaces, key, 1);
  }

  /** A server that took part has ended: resolves once Redis knows. */
  left(namespaces, key = 'socket.io') {
    return this.#count(namespaces, key, -1);
  }

  async #count(namespaces, key, change) {
    const channels = namespaces.map((namespace) => `${key}-request#${namespace}#`);
    for (const channel of channels) this.#members.set(channel, (this.#members.get(channel) ?? 0) + change);
    for (const channel of channels) await this.subscribed(channel, this.#members.get(channel));
  }

  /** It hangs: connections stay open, nothing is answered. */
  hang() {
    this.#child.kill('SIGSTOP');
  }

  /** It goes on where it hung. */
  resume() {
    this.#child.kill('SIGCONT');
  }

  /** It dies at once: connections are reset, new ones refused until `launch`. */
  async kill() {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
  }

  /** Ends it for good. */
  async stop() {
    this.#connection?.disconnect();
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
