/**
 * Binary stays binary, byte for byte, between all generations and over all transports.
 *
 * Generation 1 only receives here: in today's Node its WebSocket library sends the memory around a buffer. What it
 * sends is tested in the browser.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { MATRIX, open, openAll } from './clients.mjs';
import { Gateway } from './gateway.mjs';
import { binaries } from './samples.mjs';
import { plain } from './wrap.mjs';

const SENT = binaries((bytes) => Buffer.from(bytes));

const LISTS = Object.entries(SENT);

describe('binary', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({
      rest: `
[[namespace]]
name = "/"
[[namespace.event]]
name = "echo"
action = "ack"
[[namespace]]
name = "/other"
`,
    });
  });
  after(() => gateway.stop());

  for (const kind of MATRIX.filter(({ generation }) => !generation.startsWith('1.'))) {
    it(`${kind.name}: reaches every generation on every transport`, async (t) => {
      const listeners = await openAll(t, gateway.url);
      const publisher = await open(t, gateway.url, kind);
      await Promise.all([publisher, ...listeners].map((client) => client.done('join', 'room')));
      for (const listener of listeners) listener.record('bytes');
      for (const [name, args] of LISTS) await publisher.done('publish', 'room', 'bytes', name, ...args);
      for (const listener of listeners) {
        const heard = await listener.heard('bytes', LISTS.length);
        for (const [index, [name, args]] of LISTS.entries()) {
          assert.deepEqual(heard[index], [name, ...plain(args)], `${name}, heard by ${listener.name}`);
        }
      }
    });

    it(`${kind.name}: comes back in acknowledgements`, async (t) => {
      const client = await open(t, gateway.url, kind);
      for (const [name, args] of LISTS) {
        assert.deepEqual(await client.askAll('echo', ...args), plain(args), name);
      }
    });

    it(`${kind.name}: keeps its place among texts`, async (t) => {
      const listeners = await openAll(t, gateway.url);
      const publisher = await open(t, gateway.url, kind);
      await Promise.all([publisher, ...listeners].map((client) => client.done('join', 'room')));
      for (const listener of listeners) listener.record('item');
      for (let number = 0; number < 60; number += 1) {
        const item = number % 3 === 0 ? Buffer.from([number, 0, 255]) : `text ${number}`;
        publisher.socket.emit('publish', 'room', 'item', item, number % 2 === 0 ? Buffer.from([number]) : null);
      }
      for (const listener of listeners) {
        const heard = await listener.heard('item', 60);
        heard.forEach(([item, more], number) => {
          assert.deepEqual(item, number % 3 === 0 ? { bytes: [number, 0, 255] } : `text ${number}`, listener.name);
          assert.deepEqual(more, number % 2 === 0 ? { bytes: [number] } : null, listener.name);
        });
      }
    });

    it(`${kind.name}: works in other namespaces`, async (t) => {
      const listeners = await openAll(t, gateway.url, { namespace: '/other' });
      const publisher = await open(t, gateway.url, { ...kind, namespace: '/other' });
      await Promise.all([publisher, ...listeners].map((client) => client.done('join', 'room')));
      for (const listener of listeners) listener.record('bytes');
      assert.deepEqual(await publisher.ask('publish', 'room', 'bytes', Buffer.from('é')), { ok: true });
      for (const listener of listeners) {
        assert.deepEqual(await listener.heard('bytes'), [[{ bytes: [0xc3, 0xa9] }]], listener.name);
      }
    });
  }
});
