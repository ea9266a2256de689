/**
 * What is published arrives as it was sent, between all generations and over all transports.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { MATRIX, open, openAll } from './clients.mjs';
import { Gateway } from './gateway.mjs';
import { VALUES } from './samples.mjs';

/** A number that no JavaScript number holds, and others whose digits a re-encoding would change. */
const DIGITS = '[9007199254740993,123456789012345678901234567890,1.10,1e2,-0,1E+2]';

describe('text', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({
      rest: `
[[namespace]]
name = "/"
[[namespace.event]]
name = "echo"
action = "ack"
`,
    });
  });
  after(() => gateway.stop());

  for (const kind of MATRIX) {
    it(`${kind.name}: every value reaches every generation on every transport`, async (t) => {
      const listeners = await openAll(t, gateway.url);
      const publisher = await open(t, gateway.url, kind);
      await Promise.all([publisher, ...listeners].map((client) => client.done('join', 'room')));
      const expected = Object.entries(VALUES);
      for (const listener of listeners) listener.record('value');
      for (const [name, value] of expected) await publisher.done('publish', 'room', 'value', name, value);
      for (const listener of listeners) {
        const heard = await listener.heard('value', expected.length);
        for (const [index, [name, value]] of expected.entries()) {
          assert.deepEqual(heard[index], [name, value], `${name}, heard by ${listener.name}`);
        }
      }
    });

    it(`${kind.name}: every value comes back in an acknowledgement`, async (t) => {
      const client = await open(t, gateway.url, kind);
      for (const [name, value] of Object.entries(VALUES)) {
        assert.deepEqual(await client.askAll('echo', name, value), [name, value], name);
      }
    });

    it(`${kind.name}: numbers keep their digits`, async (t) => {
      const listeners = await openAll(t, gateway.url);
      const publisher = await open(t, gateway.url, kind);
      await Promise.all([publisher, ...listeners].map((client) => client.done('join', 'room')));
      const texts = listeners.map((listener) => listener.raw());
      // No JavaScript value has these digits, so the packet is handed to the client's own engine as text.
      publisher.socket.io.engine.send(`2["publish","room","digits",${DIGITS}]`);
      for (const [index, listener] of listeners.entries()) {
        await listener.until('a packet with the digits', () => texts[index].length > 0);
        assert.equal(texts[index][0], `2["digits",${DIGITS}]`, listener.name);
      }
    });

    it(`${kind.name}: event names and rooms may be any text`, async (t) => {
      const listeners = await openAll(t, gateway.url);
      const publisher = await open(t, gateway.url, kind);
      const room = 'räum "😀", a\u2028b';
      const name = 'événement 😀 "quoted", \\ \u2028';
      await Promise.all([publisher, ...listeners].map((client) => client.done('join', room)));
      for (const listener of listeners) listener.record(name);
      await publisher.done('publish', room, name, 'é');
      for (const listener of listeners) assert.deepEqual(await listener.heard(name), [['é']], listener.name);
    });
  }
});
