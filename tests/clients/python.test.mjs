/**
 * python-socketio's clients, the blocking one and the one for asyncio, over every transport, beside a JavaScript client.
 *
 * They run as child processes (`python/client.py`) from the virtual environment that `tests/run` makes.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { TRANSPORTS, open } from './clients.mjs';
import { Gateway } from './gateway.mjs';
import { plain, within } from './wrap.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const PYTHON = path.join(here, '.venv/bin/python');

const MATRIX = ['sync', 'async'].flatMap((kind) =>
  Object.keys(TRANSPORTS).map((transport) => ({ kind, transport, name: `${kind}, ${transport}` })),
);

/** More than python-engineio takes in the answer to one poll. */
const MANY = 40;

/** A Python client: what it said, in order. */
class Python {
  #child;
  #waiting = new Set();
  #errors = '';
  lines = [];

  static async open(t, url, { kind, transport, namespace = '/' }) {
    const python = new Python();
    const child = spawn(PYTHON, [path.join(here, 'python/client.py'), kind, url, namespace, TRANSPORTS[transport].join(',')]);
    python.#child = child;
    python.ended = new Promise((resolve) => child.once('close', resolve));
    t.after(() => python.close());
    child.once('error', (error) => python.#say({ failed: error.message }));
    child.stderr.setEncoding('utf8').on('data', (text) => (python.#errors += text));
    createInterface({ input: child.stdout }).on('line', (line) => python.#say(JSON.parse(line)));
    python.ended.then((code) => python.#say({ failed: `ended with ${code}` }));
    await python.until('connected', () => python.states('connect').length > 0);
    if (transport === 'polling, then WebSocket') assert.equal(await python.transport(), 'websocket');
    return python;
  }

  #say(line) {
    this.lines.push(line);
    for (const look of [...this.#waiting]) look();
  }

  until(what, condition) {
    let look;
    const held = new Promise((resolve, reject) => {
      look = () => {
        if (condition()) resolve();
        const failed = this.lines.find((line) => line.failed);
        if (failed) reject(new Error(`${what}: ${failed.failed}\n${this.#errors}`));
      };
      this.#waiting.add(look);
      look();
    });
    return within(held, () => `${what}: ${JSON.stringify(this.lines)}\n${this.#errors}`).finally(() => this.#waiting.delete(look));
  }

  states(state) {
    return this.lines.filter((line) => line.state === state);
  }

  async #ask(key, command) {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    const answers = () => this.lines.filter((line) => key in line && line.state === undefined);
    const at = answers().length;
    await this.until(JSON.stringify(command), () => answers().length > at);
    return answers()[at][key];
  }

  transport() {
    return this.#ask('transport', { transport: true });
  }

  /** Emits, and resolves to the acknowledgement. */
  call(...event) {
    return this.#ask('answer', { call: plain(event) });
  }

  async done(...event) {
    const answer = await this.call(...event);
    assert.equal(answer.ok, true, `${JSON.stringify(event)}: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** The arguments of an event, once there are `count` of it. */
  async heard(name, count = 1) {
    const all = () => this.lines.filter((line) => line.event === name);
    await this.until(`${count} × ${name}`, () => all().length >= count);
    return all().map(({ args }) => args);
  }

  async close() {
    this.#child.stdin.end();
    await within(this.ended, () => 'the Python client ends').catch(() => this.#child.kill('SIGKILL'));
  }
}

describe('python-socketio', () => {
  let gateway;
  before(async () => {
    const rest = ['/', '/other'].map((name) => `
[[namespace]]
name = "${name}"
[[namespace.event]]
name = "echo"
action = "ack"
`);
    gateway = await Gateway.start({ rest: rest.join('') });
  });
  after(() => gateway.stop());

  for (const kind of MATRIX) {
    for (const namespace of ['/', '/other']) {
      it(`${kind.name}, ${namespace}: talks with a JavaScript client in a room`, async (t) => {
        const python = await Python.open(t, gateway.url, { ...kind, namespace });
        const other = await open(t, gateway.url, { generation: '4.8.4', transport: 'WebSocket only', namespace });
        other.record('news', 'presence');
        const joined = await python.done('join', 'room');
        assert.deepEqual([joined.rooms, joined.socket], [['room'], python.states('connect')[0].id]);
        await other.done('join', 'room');
        assert.equal((await python.done('members', 'room')).total, 2);

        const values = ['é€😀', 1.5, null, { a: [true] }, { bytes: [0, 4, 255] }, { deep: [{ bytes: [] }] }];
        await python.done('publish', 'room', 'news', ...values);
        assert.deepEqual(await other.heard('news'), [values]);
        await other.done('publish', 'room', 'news', 'back', Buffer.from([1, 2, 3]));
        assert.deepEqual(await python.heard('news'), [['back', { bytes: [1, 2, 3] }]]);
        assert.deepEqual(await python.call('echo', { bytes: [7] }), { bytes: [7] });

        assert.deepEqual((await python.done('leave', 'room')).rooms, []);
        assert.equal((await python.call('publish', 'room', 'news', 1)).error, 'forbidden');
        await other.done('publish', 'room', 'news', 'not for those who left');
        await python.done('join', 'room');
        await other.done('publish', 'room', 'news', 'last');
        assert.deepEqual((await python.heard('news', 2))[1], ['last']);
      });
    }

    it(`${kind.name}: takes more packets at once than it reads in one payload`, async (t) => {
      const python = await Python.open(t, gateway.url, kind);
      const other = await open(t, gateway.url, { generation: '4.8.4', transport: 'WebSocket only' });
      await python.done('join', 'many');
      await other.done('join', 'many');
      const numbers = Array.from({ length: MANY }, (_, number) => [number]);
      for (const [number] of numbers) other.socket.emit('publish', 'many', 'item', number);
      const heard = await python.heard('item', MANY);
      // The client hands each event to a thread or task of its own, so they do not report in order.
      assert.deepEqual([...heard].sort(([one], [other]) => one - other), numbers);
    });
  }

  it('comes back by itself after a restart of the gateway', async (t) => {
    const clients = await Promise.all(MATRIX.map((kind) => Python.open(t, gateway.url, kind)));
    await gateway.halt();
    await Promise.all(clients.map((python) => python.until('disconnected', () => python.states('disconnect').length > 0)));
    await gateway.launch();
    for (const python of clients) {
      await python.until('connected again', () => python.states('connect').length > 1);
      const [first, again] = python.states('connect');
      assert.notEqual(first.id, again.id);
      assert.deepEqual((await python.done('join', 'room')).rooms, ['room']);
    }
  });
});
