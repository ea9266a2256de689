/**
 * nginx and HAProxy from their packages, with the files of deploy/ as they are: only addresses and directories are a
 * test's own.
 *
 * Must never signal a process it did not start, and never let what a balancer complained of go unnoticed.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { freePort } from '../clients/gateway.mjs';
import { within } from '../clients/wrap.mjs';

const DEPLOY = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../deploy');

/** What gateways are told about who stands before them. */
const TRUSTED = 'trusted_proxies = ["127.0.0.1/32"]';
const PROXY_PROTOCOL = 'proxy_protocol = true';

/**
 * The balancers there are: a file, what gateways need for it, what a session's requests come to one node by, if they do.
 * `logsRequests`: otherwise it knows connections alone. `change`: the alternative that a comment in the file describes.
 */
export const VARIANTS = {
  'nginx': { file: 'nginx.conf', server: TRUSTED, logsRequests: true },
  'nginx, ip_hash': { file: 'nginx-sticky.conf', server: TRUSTED, logsRequests: true, sticky: 'network' },
  'nginx, consistent hash': {
    file: 'nginx-sticky.conf',
    server: TRUSTED,
    logsRequests: true,
    sticky: 'address',
    change: (text) => swap(swap(text, /^( *)(ip_hash;)$/m, '$1# $2'), /^( *)# (hash \$remote_addr consistent;)$/m, '$1$2'),
  },
  'nginx, TCP': { file: 'nginx-stream.conf', server: PROXY_PROTOCOL },
  'HAProxy': { file: 'haproxy.cfg', server: TRUSTED, logsRequests: true },
  'HAProxy, cookie': { file: 'haproxy-sticky.cfg', server: PROXY_PROTOCOL, logsRequests: true, sticky: 'cookie' },
};

/** Replaces what must be there. */
function swap(text, what, by) {
  const swapped = text.replaceAll(what instanceof RegExp ? new RegExp(what, `${what.flags}g`) : what, by);
  assert.notEqual(swapped, text, `the file has no ${what}`);
  return swapped;
}

/** The text of a file of deploy/. */
export const deployed = (file) => readFile(path.join(DEPLOY, file), 'utf8');

/** Resolves once the condition holds, which is looked at again and again. */
export async function eventually(condition, what) {
  let isOver = false;
  const look = async () => {
    while (!isOver && !(await condition())) await pause(10);
  };
  await within(look(), what).finally(() => (isOver = true));
}

/** Requests that did not end as they should: by their status, and where HAProxy saw a side break off, by `end`. */
export const failed = (entries) =>
  entries.filter(({ status, end = '--' }) => ![101, 200].includes(status) || end !== '--').slice(0, 5);

/** Processes that run: none may outlive the test process, however that ends. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A running balancer. */
export class Balancer {
  #child;
  #directory;
  #ended = false;
  /** What it wrote: HAProxy its access log too. */
  #output = '';

  /** Starts one of `VARIANTS` before these gateways; it runs until `stop`. */
  static async start(variant, gateways) {
    const balancer = new Balancer();
    balancer.name = variant;
    balancer.isNginx = variant.startsWith('nginx');
    balancer.gateways = gateways;
    Object.assign(balancer, VARIANTS[variant]);
    balancer.#directory = await mkdtemp(path.join(tmpdir(), 'roomcast-balancer-'));
    for (let attempt = 1; ; attempt += 1) {
      balancer.port = await freePort();
      try {
        await balancer.#launch();
        return balancer;
      } catch (error) {
        // Somebody else can take a port between our look and the balancer's.
        if (attempt < 3 && /address already in use/i.test(error.message)) continue;
        await balancer.#remove();
        throw error;
      }
    }
  }

  /** What clients connect to. */
  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The shipped file with our addresses and directories. */
  async #configuration() {
    let text = await deployed(this.file);
    if (this.change) text = this.change(text);
    this.gateways.forEach(({ port }, index) => (text = swap(text, `gateway-${index + 1}:3000`, `127.0.0.1:${port}`)));
    if (!this.isNginx) return swap(text, /^( *bind) :80$/m, `$1 127.0.0.1:${this.port}`);
    text = swap(text, /^( *listen) 80;$/m, `$1 127.0.0.1:${this.port};`);
    text = swap(text, '/var/log/nginx/', `${this.#directory}/`);
    if (!this.logsRequests) return text;
    // Where nginx would keep what it does not hold in memory: directories that packages make for root.
    const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    return swap(text, /^http \{$/m, `$&\n${kinds.map((kind) => `${kind}_temp_path ${this.#directory}/${kind};`).join('\n')}`);
  }

  async #launch() {
    const file = path.join(this.#directory, this.file);
    await writeFile(file, await this.#configuration());
    const pid = path.join(this.#directory, 'nginx.pid');
    const [command, ...words] = this.isNginx
      ? ['nginx', '-c', file, '-e', 'stderr', '-g', `daemon off; pid ${pid};`]
      : ['haproxy', '-db', '-f', file];
    const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.#ended = false;
    this.#output = '';
    running.add(child);
    const ended = new Promise((_, reject) => {
      child.once('error', (error) => reject(new Error(`cannot run ${command}: ${error.message}`)));
      child.once('close', (code, signal) => {
        running.delete(child);
        this.#ended = true;
        reject(new Error(`${this.name} ended (${code ?? signal}):\n${this.#output}`));
      });
    });
    ended.catch(() => {});
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => (this.#output += text));
    }
    await within(Promise.race([this.#listening(), ended]), () => `${this.name} listens\n${this.#output}`);
  }

  async #listening() {
    while (!this.#ended) {
      const socket = connect(this.port, '127.0.0.1');
      const [listens] = await Promise.race([
        once(socket, 'connect').then(() => [true]),
        once(socket, 'error').then(() => [false]),
      ]).catch(() => [false]);
      socket.destroy();
      if (listens) return;
      await pause(20);
    }
  }

  /**
   * What it logged: `{client, node, status, method, transport, path, end}` a request, as far as its log knows; `node` is the
   * place of the gateway in the file, from 1.
   */
  async entries() {
    if (!this.isNginx) return this.#output.split('\n').filter((line) => line.startsWith('client=')).map(haproxyEntry);
    const log = await readFile(path.join(this.#directory, 'access.log'), 'utf8');
    const lines = log.split('\n').slice(0, -1).map((line) => JSON.parse(line));
    const place = (address) => this.gateways.findIndex(({ port }) => address === `127.0.0.1:${port}`) + 1;
    return lines.map((line) => ({ ...line, node: place(line.node.split(', ').at(-1)) }));
  }

  /** What it logged, once that is as it should be: requests are written when they are over, WebSockets long after they began. */
  async entriesOnce(what, condition) {
    let seen = [];
    const look = async () => condition((seen = await this.entries()));
    await eventually(look, () => `${this.name} logged ${what}; it did ${seen.length} requests\n${this.#output.slice(-2000)}`);
    return seen;
  }

  /** What went wrong in its own eyes, but for how few files this machine lets it open. */
  get complaints() {
    const lines = this.#output.split('\n').filter((line) => /\[(warn|error|crit|alert|emerg|WARNING|ALERT)\]/.test(line));
    return lines.filter((line) => !/RLIMIT_NOFILE|open file resource limit/.test(line));
  }

  async #remove() {
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** Ends it for good; it must have run until now. */
  async stop() {
    try {
      assert.equal(this.#ended, false, `${this.name} ended by itself:\n${this.#output.slice(-2000)}`);
      const closed = once(this.#child, 'close');
      this.#child.kill('SIGTERM');
      await within(closed, () => `${this.name} ends`);
    } finally {
      this.#child.kill('SIGKILL');
      await this.#remove();
    }
  }
}

/** A line of HAProxy's log. */
function haproxyEntry(line) {
  const { node, status, ...rest } = Object.fromEntries(line.split(' ').map((word) => word.split(/=(.*)/s, 2)));
  return { ...rest, status: Number(status), node: Number(/^gateway-(\d)$/.exec(node)?.[1] ?? 0) };
}
