/**
 * Clients that use socket.io-msgpack-parser, in one room with those that use the default parser.
 */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, describe, it } from 'node:test';

import { TRANSPORTS, beside, open, openAll, start } from './clients.mjs';
import { Gateway } from './gateway.mjs';
import { VALUES, binaries } from './samples.mjs';
import { FILE, vectors } from './vectors/msgpack.mjs';
import { plain } from './wrap.mjs';

const parser = createRequire(import.meta.url)('socket.io-msgpack-parser');

const KINDS = Object.keys(TRANSPORTS).map((transport) => ({
  generation: '4.8.4',
  transport,
  parser,
  name: `MessagePack, ${transport}`,
}));

const BINARIES = Object.entries(binaries((bytes) => Buffer.from(bytes)));

/** The parser itself damages these on their way out: halves of pairs swallow what follows, 1e21 loses its upper bits. */
const { 'half of a surrogate pair': half, 'large and small numbers': large, ...INTACT } = VALUES;

/** Everybody: the default parser of every generation on every transport, and MessagePack on every transport. */
const everybody = async (t, url, more = {}) => {
  const others = await openAll(t, url, more);
  return [...others, ...(await Promise.all(KINDS.map((kind) => open(t, url, { ...kind, ...more }))))];
};

/** Keeps the types of the messages that arrive from now on: `text` or `binary`. */
function messages(client) {
  const kinds = [];
  client.socket.io.engine.on('packet', ({ type, data }) => {
    if (type === 'message') kinds.push(typeof data === 'string' ? 'text' : 'binary');
  });
  return kinds;
}

describe('MessagePack', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({
      rest: `
[engine]
ping_interval = "300ms"
ping_timeout = "10s"
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

  it('has vectors that are what the parsers write', async () => {
    assert.deepEqual(JSON.parse(await readFile(FILE, 'utf8')), vectors());
  });

  for (const kind of KINDS) {
    describe(kind.name, () => {
      it('connects, joins and is refused like everybody', async (t) => {
        const client = await open(t, gateway.url, kind);
        const kinds = messages(client);
        assert.equal(client.transport, kind.transport === 'polling only' ? 'polling' : 'websocket');
        assert.deepEqual(await client.ask('join', ['one', 2]), { ok: true, rooms: ['one', '2'], socket: client.id });
        assert.deepEqual(await client.ask('leave', 2), { ok: true, rooms: ['one'] });
        const refusal = await client.ask('publish', 'theirs', 'news');
        assert.equal(refusal.error, 'forbidden');
        assert.match(refusal.message, /theirs/);
        assert.deepEqual(kinds, ['binary', 'binary', 'binary']);
      });

      it('is heard by everybody, every value', async (t) => {
        const listeners = await everybody(t, gateway.url);
        const publisher = await open(t, gateway.url, kind);
        await Promise.all([publisher, ...listeners].map((client) => client.done('join', 'room')));
        for (const listener of listeners) listener.record('value');
        for (const [name, value] of Object.entries(INTACT)) await publisher.done('publish', 'room', 'value', name, value);
        const expected = Object.entries(INTACT);
        for (const listener of listeners) {
          const heard = await listener.heard('value', expected.length);
          for (const [index, [name, value]] of expected.entries()) {
            assert.deepEqual(heard[index], [name, value], `${name}, heard by ${listener.name}`);
          }
        }
      });

      it('hears everybody, every value', async (t) => {
        const client = (await open(t, gateway.url, kind)).record('value');
        const publishers = await everybody(t, gateway.url);
        await Promise.all([client, ...publishers].map((each) => each.done('join', 'room')));
        let count = 0;
        for (const publisher of publishers) {
          for (const [name, value] of Object.entries(INTACT)) {
            await publisher.done('publish', 'room', 'value', name, value);
            count += 1;
            assert.deepEqual((await client.heard('value', count)).at(-1), [name, value], `${name}, from ${publisher.name}`);
          }
        }
      });

      it('hears large numbers, and half a surrogate pair as the sign for a character that is none', async (t) => {
        const client = (await open(t, gateway.url, kind)).record('value');
        const publisher = await open(t, gateway.url, { generation: '4.8.4', transport: 'WebSocket only' });
        await Promise.all([client, publisher].map((each) => each.done('join', 'room')));
        await publisher.done('publish', 'room', 'value', large, half);
        assert.deepEqual(await client.heard('value'), [[large, half.toWellFormed()]]);
      });

      it('binary both ways', async (t) => {
        const all = await everybody(t, gateway.url);
        const client = (await open(t, gateway.url, kind)).record('bytes');
        await Promise.all([client, ...all].map((each) => each.done('join', 'room')));
        for (const listener of all) listener.record('bytes');
        for (const [name, args] of BINARIES) await client.done('publish', 'room', 'bytes', name, ...args);
        for (const listener of all) {
          const heard = await listener.heard('bytes', BINARIES.length);
          for (const [index, [name, args]] of BINARIES.entries()) {
            assert.deepEqual(heard[index], [name, ...plain(args)], `${name}, heard by ${listener.name}`);
          }
        }
        // Generation 1 sends the memory around a buffer in today's Node.
        const publishers = all.filter(({ name }) => !name.startsWith('1.'));
        for (const publisher of publishers) {
          for (const [name, args] of BINARIES) await publisher.done('publish', 'room', 'bytes', name, ...args);
        }
        const heard = await client.heard('bytes', publishers.length * BINARIES.length);
        for (const [index, [name, ...args]] of heard.entries()) {
          const [expected, sent] = BINARIES[index % BINARIES.length];
          assert.deepEqual([name, ...args], [expected, ...plain(sent)], `message ${index}`);
        }
      });

      it('values and binary come back in acknowledgements', async (t) => {
        const client = await open(t, gateway.url, kind);
        for (const [name, value] of Object.entries(INTACT)) {
          assert.deepEqual(await client.askAll('echo', name, value), [name, value], name);
        }
        for (const [name, args] of BINARIES) assert.deepEqual(await client.askAll('echo', ...args), plain(args), name);
      });

      it('what only JavaScript has arrives as JSON would carry it', async (t) => {
        const client = await open(t, gateway.url, kind);
        const date = new Date('2026-01-02T03:04:05.678Z');
        const sent = [date, undefined, [undefined], { a: undefined, b: 1 }, NaN, Uint8Array.of(1, 2).buffer];
        assert.deepEqual(await client.askAll('echo', ...sent), [
          date.toISOString(),
          null,
          [null],
          { b: 1 },
          null,
          { bytes: [1, 2] },
        ]);
      });

      it('is told that a namespace does not exist, and enters those that do', async (t) => {
        const client = await open(t, gateway.url, kind);
        const refused = start(t, gateway.url, { ...kind, namespace: '/nowhere' });
        assert.equal((await refused.refused()).message, 'Invalid namespace');
        const other = beside(t, client, '/other');
        await other.connected();
        other.record('news');
        const publisher = await open(t, gateway.url, { generation: '2.5.0', transport: 'WebSocket only', namespace: '/other' });
        await Promise.all([other, publisher].map((each) => each.done('join', 'room')));
        await publisher.done('publish', 'room', 'news', 'é');
        assert.deepEqual(await other.heard('news'), [['é']]);
        other.socket.disconnect();
        assert.deepEqual(await client.askAll('echo', 'still here'), ['still here']);
      });

      it('lives through heartbeats', async (t) => {
        const client = await open(t, gateway.url, kind);
        let beats = 0;
        client.socket.io.engine.on('packet', ({ type }) => {
          if (type === 'ping') {
            beats += 1;
            client.changed();
          }
        });
        await client.until('three heartbeats', () => beats >= 3);
        assert.deepEqual(await client.askAll('echo', 1), [1]);
        assert.deepEqual(client.disconnects, []);
      });

      it('comes and goes, and comes again', async (t) => {
        const client = await open(t, gateway.url, kind);
        client.close();
        const next = await open(t, gateway.url, kind);
        assert.deepEqual(await next.askAll('echo', 1), [1]);
      });
    });
  }
});
