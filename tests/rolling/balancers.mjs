/**
 * Real balancers before gateways, round robin without stickiness, and what their logs say of handshakes.
 *
 * Must never signal a process it did not start.
 */

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { PORTS } from './nodes.mjs';
import { place } from './places.mjs';
import { until } from './until.mjs';

/** Where balancers listen. */
const PORT = 8080;

/** Processes that run: none may outlive the test process, however that ends. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A balancer that runs. */
class Balancer {
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

/** `[global]` and the rest of HAProxy's configuration for these nodes. */
const haproxyText = ({ host, directory }, nodes) => `
global
  log stdout format raw local0
  stats socket ${directory}/control level admin
defaults
  mode http
  log global
  option httplog
  option redispatch 1
  retries 3
  retry-on conn-failure
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend clients
  bind ${host}:${PORT}
  default_backend gateways
backend gateways
  balance roundrobin
  option forwardfor
  option httpchk GET /readyz
  http-check expect status 200
  default-server check inter 250ms fall 1 rise 1
${nodes.map(({ name, host }) => `  server ${name} ${host}:${PORTS.clients}`).join('\n')}
`;

/** client [time] frontend backend/server times status bytes - - termination counts queues "request" */
const HAPROXY_LINE = /^\S+ \[[^\]]+\] \S+ \S+ \S+ (-?\d+) \d+ - - (\S{2})\S* .* "(\S+) (\S+) HTTP/;

/** HAProxy, which asks /readyz. `nodes`: `{name, host}`, running or not. */
export async function startHaproxy(t, nodes) {
  const directory = await mkdtemp(path.join(tmpdir(), 'roomcast-haproxy-'));
  const balancer = new Balancer('HAProxy', place(), directory, (line) => {
    const [, status, ended, , target] = HAPROXY_LINE.exec(line) ?? [];
    return target && { target, status: Number(status), isAborted: ended.startsWith('C') };
  });
  balancer.isUp = async (node) => (await states(balancer)).get(node.name)?.startsWith('UP') === true;
  await writeFile(path.join(directory, 'haproxy.cfg'), haproxyText(balancer, nodes));
  await balancer.run(t, 'haproxy', ['-db', '-f', 'haproxy.cfg']);
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

const nginxText = (host, nodes) => `
daemon off;
error_log stderr warn;
pid nginx.pid;
worker_processes 1;
events { worker_connections 4096; }
http {
  log_format plain '$status $request_uri';
  access_log access.log plain;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
  upstream gateways {
${nodes.map(({ host }) => `    server ${host}:${PORTS.clients} max_fails=1 fail_timeout=2s;`).join('\n')}
  }
  server {
    listen ${host}:${PORT};
    location / {
      proxy_pass http://gateways;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_connect_timeout 2s;
      proxy_read_timeout 60s;
      proxy_buffering off;
    }
  }
}
`;

/** nginx, which finds out by failing. */
export async function startNginx(t, nodes) {
  const directory = await mkdtemp(path.join(tmpdir(), 'roomcast-nginx-'));
  const balancer = new Balancer('nginx', place(), directory, (line) => {
    const [status, target] = line.split(' ');
    return target && { target, status: Number(status), isAborted: status === '499' };
  });
  balancer.lines = () => readFile(path.join(directory, 'access.log'), 'utf8');
  await writeFile(path.join(directory, 'nginx.conf'), nginxText(balancer.host, nodes));
  await balancer.run(t, 'nginx', ['-p', directory, '-c', 'nginx.conf', '-e', 'stderr']);
  return balancer;
}
