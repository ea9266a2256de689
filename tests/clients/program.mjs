/**
 * An application in a process of its own, in any language, that says on its first line of output where it listens.
 *
 * Must never signal a process it did not start.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { within } from './wrap.mjs';

/** Processes that run: none may outlive the test process, however that ends. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A running program. */
export class Program {
  #child;

  /** What it said on stderr. */
  log = '';

  /** Starts `words` with more variables, and waits for its first line: its `url`. */
  static async start(words, variables = {}) {
    const program = new Program();
    const [name, ...rest] = words;
    const child = spawn(name, rest, { env: { ...process.env, ...variables }, stdio: ['ignore', 'pipe', 'pipe'] });
    program.#child = child;
    running.add(child);
    child.once('close', () => running.delete(child));
    child.stderr.setEncoding('utf8').on('data', (text) => (program.log += text));
    const said = once(createInterface({ input: child.stdout }), 'line');
    const ended = once(child, 'close').then(() => Promise.reject(new Error(`${words.join(' ')} ended:\n${program.log}`)));
    ended.catch(() => {});
    [program.url] = await within(Promise.race([said, ended]), () => `${words.join(' ')} says where it listens\n${program.log}`);
    program.url = program.url.replace(/\/$/, '');
    return program;
  }

  /** Ends it. */
  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await closed;
  }
}
