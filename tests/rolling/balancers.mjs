/**
 * Real balancers before gateways, with the files of deploy/, and what their logs say of handshakes. Only addresses and
 * directories are a test's own, the format of the logs, and how often a node is asked whether it is ready.
 *
 * Must never signal a process it did not start.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { place } from './places.mjs';
import { until } from './until.mjs';

const DEPLOY = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../deploy');

/** Where balancers listen. */
const PORT = 8080;

/** Processes that run: none may outlive the test process, however that ends. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A balancer that runs. */
class Balancer {
  #child;
  #parse;
  #ended = false;
  /** What it said; also of requests, where it does so on its standard output. */
  log = '';

  /** `parse` finds `{target, status, isAborted}` in a line about a request. */
  constructor(name, host, directory, parse) {
    this.name = name;
    this.host = host;
    this.directory = directory;
    this.#parse = parse;
  }

  /** What clients connect to. */
  get url() {
    return `http://${this.host}:${PORT}`;
  }

  /** Starts it, and waits until it answers. */
  async run(t, program, words) {
    const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'], cwd: this.directory });
    this.#child = child;
    running.add(child);
    const ended = new Promise((resolve) => {
      child.once('error', (error) => resolve((this.log += `cannot run ${program}: ${error.message}\n`)));
      child.once('close', resolve);
    }).then(() => {
      this.#ended = true;
      running.delete(child);
    });
    t.after(async () => {
      child.kill('SIGTERM');
      await ended;
      await rm(this.directory, { recursive: true, force: true });
    });
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (this.log += text));
    const answers = () => fetch(`${this.url}/livez`).then(async (answer) => (await answer.arrayBuffer(), answer.ok), () => false);
    await until(() => `${this.name} answers\n${this.log}`, async () => this.#ended || (await answers()));
    if (this.#ended) throw new Error(`${this.name} ended:\n${this.log}`);
  }

  /** Sends it a signal. */
  signal(name) {
    this.#child.kill(name);
  }

  /** What became of requests: how many by kind and status, and the lines of handshakes that failed. */
  async requests() {
    const counts = {};
    const failures = [];
    for (const line of (await this.lines()).split('\n')) {
      const { target, status, isAborted } = this.#parse(line) ?? {};
      if (!target?.includes('transport=')) continue;
      const kind = /[?&]sid=/.test(target) ? 'session' : 'handshake';
      counts[`${kind} ${status}`] = (counts[`${kind} ${status}`] ?? 0) + 1;
      if (kind === 'handshake' && !isAborted && status !== 101 && status !== 200) failures.push(`${this.name}: ${line}`);
    }
    return { counts, failures };
  }

  /** The log of requests. */
  async lines() {
    return this.log;
  }
}

/** The text of a file of deploy/, changed: each `[what, by]`, where `what` must be there. */
async function shipped(file, changes) {
  let text = await readFile(path.join(DEPLOY, file), 'utf8');
  for (const [what, by] of changes) {
    assert.match(text, what, `${file} has no ${what}`);
    text = text.replace(what, by);
  }
  return text;
}

/** Lines like the first of some, each with `what` replaced by a node. */
const servers = (nodes, what, by) => (lines) => nodes.map((node) => `${lines.split('\n')[0].replace(what, by(node))}\n`).join('');

/**
 * HAProxy, which asks nodes whether they are ready: as often as the file says, or four times a second where they leave
 * within a few. `nodes`: `{name, host}`, running or not.
 */
export async function startHaproxy(t, nodes, { asksOften = true } = {}) {
  const directory = await mkdtemp(path.join(tmpdir(), 'roomcast-haproxy-'));
  const balancer = new Balancer('HAProxy', place(), directory, (line) => {
    const [, status, ended, target] = /^request (-?\d+) (\S+) (\S+)/.exec(line) ?? [];
    return target && { target, status: Number(status), isAborted: ended.startsWith('C') };
  });
  balancer.isUp = async (node) => (await states(balancer)).get(node.name)?.startsWith('UP') === true;
  const text = await shipped('haproxy.cfg', [
    [/^global$/m, `global\n    stats socket ${directory}/control level admin`],
    [/^( *)log-format .*$/m, '    log-format "request %ST %ts %HU"'],
    [/\binter 1s\b/, asksOften ? 'inter 250ms' : '$&'],
    [/^ *bind :80$/m, `    bind ${balancer.host}:${PORT}`],
    [/^( *server .*\n)+/m, servers(nodes, /gateway-\d gateway-\d(?=:3000)/, ({ name, host }) => `${name} ${host}`)],
  ]);
  await writeFile(path.join(directory, 'haproxy.cfg'), text);
  await balancer.run(t, 'haproxy', ['-db', '-f', 'haproxy.cfg']);
  return balancer;
}

/** The shipped nginx.conf for these nodes. */
function nginxText({ host, directory }, nodes) {
  // Where nginx would keep what it does not hold in memory: directories that packages make for root.
  const kept = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${directory}/${kind};`);
  return shipped('nginx.conf', [
    [/^http \{$/m, `http {\n${kept.join('\n')}\nlog_format requests '$status $request_uri';`],
    [/^ *access_log .*$/m, `    access_log ${directory}/access.log requests;`],
    [/^ *listen 80;$/m, `        listen ${host}:${PORT};`],
    [/^( *server gateway-.*\n)+/m, servers(nodes, /gateway-\d(?=:3000)/, ({ host }) => host)],
  ]);
}

/** nginx, which asks nobody and finds out by failing. `reload(nodes)` has it send new clients to other nodes. */
export async function startNginx(t, nodes) {
  const directory = await mkdtemp(path.join(tmpdir(), 'roomcast-nginx-'));
  const file = path.join(directory, 'nginx.conf');
  const balancer = new Balancer('nginx', place(), directory, (line) => {
    const [status, target] = line.split(' ');
    return target && { target, status: Number(status), isAborted: status === '499' };
  });
  balancer.lines = () => readFile(path.join(directory, 'access.log'), 'utf8');
  balancer.reload = async (others) => {
    const said = (text) => balancer.log.split(text).length - 1;
    const workers = said('start worker process ');
    await writeFile(file, await nginxText(balancer, others));
    balancer.signal('SIGHUP');
    // Those that were there accept nobody any more, and stay for their WebSockets.
    await until(() => `nginx reloads\n${balancer.log}`, () => said('gracefully shutting down') >= workers);
  };
  await writeFile(file, await nginxText(balancer, nodes));
  await balancer.run(t, 'nginx', ['-c', file, '-e', 'stderr', '-g', `daemon off; pid ${directory}/nginx.pid; error_log stderr notice;`]);
  return balancer;
}

/** What HAProxy thinks of its servers: name to state. */
async function states(balancer) {
  const socket = createConnection(path.join(balancer.directory, 'control'));
  socket.end('show stat\n');
  let text = '';
  for await (const piece of socket) text += piece;
  const rows = text.split('\n').map((line) => line.split(','));
  const status = rows[0].indexOf('status');
  return new Map(rows.filter((row) => row.length > status).map((row) => [row[1], row[status]]));
}
