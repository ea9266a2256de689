/**
 * Runs the built gateway for a test file: a configuration in a directory of its own, free ports, a clean stop.
 *
 * Must never signal a process it did not start, and never let a run pass in which the gateway panicked or
 * ended otherwise than it should.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { eventually, within } from './wrap.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));

/** The binary under test. */
export const BINARY = path.resolve(process.env.ROOMCAST_BIN ?? path.join(here, '../../target/release/roomcast'));

/** The exit code for an address that is taken: the one failure that is tried again. */
const UNAVAILABLE = 69;

/** Nobody is waited for when a test ends. */
const AT_ONCE = 'delay = "0s"\nspread = "0s"\ntimeout = "10s"';

/** Gateways that run: none may outlive the test process, however that ends. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
process.once('SIGTERM', () => process.exit(1));

/** A port that was free a moment ago. */
export async function freePort(host = '127.0.0.1') {
  const server = createServer();
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** The environment without anything that would configure the gateway behind the test's back, and with these variables. */
function cleanEnvironment(variables) {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('ROOMCAST_'));
  return { ...Object.fromEntries(kept), RUST_BACKTRACE: '1', ...variables };
}

/** Stops a process, and resolves once none of its threads runs any more. */
export async function freeze(child) {
  child.kill('SIGSTOP');
  const tasks = `/proc/${child.pid}/task`;
  const isStopped = async (task) => /\) T /.test(await readFile(`${tasks}/${task}/stat`, 'utf8'));
  await eventually(`${child.pid} is stopped`, async () => (await Promise.all((await readdir(tasks)).map(isStopped))).every(Boolean));
}

/** Many gateways on one machine cannot all have the default port for each other. */
const ANY_PORT = { ROOMCAST_CLUSTER__LISTEN: '127.0.0.1:0' };

/** A running gateway. */
export class Gateway {
  #child;
  #ended;
  #directory;
  #configuration;
  #place;

  /** Everything it logged, over restarts. */
  log = '';

  constructor(directory, configuration, place) {
    this.#directory = directory;
    this.#configuration = configuration;
    this.#place = place;
  }

  /**
   * Starts one and waits until it is ready.
   * `server`, `admin`, `drain`: lines for these sections; `rest`: whole sections and [[namespace]] tables.
   * `file`: a configuration that is run as it stands, but for where it listens. `host`: the address it listens on, on
   * `ports` (clients', admin's) or free ones. `inside`: a command that runs the `binary` somewhere else; `variables` of
   * its environment.
   */
  static async start({ server = '', admin = '', drain = AT_ONCE, rest = '', file, host = '127.0.0.1', ports, inside = [], binary = BINARY, variables = ANY_PORT } = {}) {
    const directory = await mkdtemp(path.join(tmpdir(), 'roomcast-test-'));
    const gateway = new Gateway(directory, { server, admin, drain, rest, file }, { host, command: [...inside, binary], variables });
    for (let attempt = 1; ; attempt += 1) {
      [gateway.port, gateway.adminPort] = ports ?? [await freePort(host), await freePort(host)];
      try {
        await gateway.launch();
        return gateway;
      } catch (error) {
        // Somebody else can take a port between our look and the gateway's.
        if (error.exitCode === UNAVAILABLE && attempt < 3) continue;
        await rm(directory, { recursive: true });
        throw error;
      }
    }
  }

  /** What clients connect to. */
  get url() {
    return `http://${this.#place.host}:${this.port}`;
  }

  /** The admin listener. */
  get adminUrl() {
    return `http://${this.#place.host}:${this.adminPort}`;
  }

  #toml() {
    const { server, admin, drain, rest } = this.#configuration;
    return `
[server]
listen = "${this.#place.host}:${this.port}"
${server}
[admin]
listen = "${this.#place.host}:${this.adminPort}"
${admin}
[drain]
${drain}
[log]
level = "info"
${rest}
`;
  }

  /** Where it listens, whatever its file says. */
  #flags() {
    return ['--listen', `${this.#place.host}:${this.port}`, '--admin-listen', `${this.#place.host}:${this.adminPort}`];
  }

  /** Starts the process on the ports it has, and waits until it is ready. */
  async launch() {
    const file = this.#configuration.file ?? path.join(this.#directory, 'roomcast.toml');
    if (!this.#configuration.file) await writeFile(file, this.#toml());
    const [program, ...words] = this.#place.command;
    const child = spawn(program, [...words, 'serve', '--config', file, ...this.#flags()], {
      cwd: this.#directory,
      env: cleanEnvironment(this.#place.variables),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    running.add(child);
    child.once('close', () => running.delete(child));
    this.#ended = new Promise((resolve, reject) => {
      child.once('error', (error) => reject(new Error(`cannot run ${program}: ${error.message}`)));
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    // The failure is reported where it is awaited; until then it must not count as unhandled.
    this.#ended.catch(() => {});
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => (this.log += text));
    }
    await this.#ready();
  }

  async #ready() {
    let ended;
    const watch = this.#ended.finally(() => (ended = true)).then((end) => (ended = end));
    const answers = async () => {
      while (!ended) {
        const answer = await fetch(`${this.adminUrl}/readyz`).catch(() => undefined);
        await answer?.arrayBuffer();
        if (answer?.ok) return;
        await pause(20);
      }
    };
    await within(Promise.race([answers(), watch]), () => `the gateway is ready\n${this.log}`);
    if (ended) {
      const error = new Error(`the gateway ended at once: ${JSON.stringify(ended)}\n${this.log}`);
      error.exitCode = ended.code;
      throw error;
    }
  }

  /** Whether the process runs. */
  get isRunning() {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Sends it a signal. */
  signal(name) {
    this.#child.kill(name);
  }

  /** It hangs from now on, as if the machine had stopped: connections stay open. SIGCONT wakes it up. */
  freeze() {
    return freeze(this.#child);
  }

  /** Resolves to `{code, signal}` once the process has ended. */
  get ended() {
    return this.#ended;
  }

  /** Asks it to stop and waits for it; its directory stays, so that `launch` can bring it back. */
  async halt(exitCode = 0) {
    if (this.isRunning) this.signal('SIGTERM');
    try {
      const { code, signal } = await within(this.#ended, () => `the gateway stops\n${this.log}`);
      assert.equal(signal, null, `the gateway was killed by ${signal}\n${this.log}`);
      assert.equal(code, exitCode, `the gateway's exit code\n${this.log}`);
      assert.doesNotMatch(this.log, /panic/i, 'the gateway panicked');
    } catch (error) {
      this.#child.kill('SIGKILL');
      throw error;
    }
  }

  /** Stops it for good: the exit code must be that of a clean stop, and nothing may have panicked. */
  async stop() {
    try {
      await this.halt();
    } finally {
      await this.remove();
    }
  }

  /** Removes what is left of one that has ended. */
  remove() {
    return rm(this.#directory, { recursive: true, force: true });
  }
}
