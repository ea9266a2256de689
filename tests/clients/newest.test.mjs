/**
 * What only the newest generation has: promises for acknowledgements, time limits, retries, volatile events, auth.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { TRANSPORTS, open, start } from './clients.mjs';
import { Gateway } from './gateway.mjs';
import { within } from './wrap.mjs';

describe('socket.io-client 4', () => {
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

  for (const transport of Object.keys(TRANSPORTS)) {
    const kind = { generation: '4.8.4', transport };

    describe(transport, () => {
      it('emitWithAck resolves, with and without a time limit', async (t) => {
        const { socket } = await open(t, gateway.url, kind);
        assert.equal(await socket.emitWithAck('echo', 'x'), 'x');
        assert.equal(await socket.timeout(10_000).emitWithAck('echo', 'y'), 'y');
        const joined = await socket.timeout(10_000).emitWithAck('join', 'room');
        assert.deepEqual(joined, { ok: true, rooms: ['room'], socket: socket.id });
      });

      it('the callback of a time limit gets no error', async (t) => {
        const { socket } = await open(t, gateway.url, kind);
        const answer = await new Promise((resolve) => {
          socket.timeout(10_000).emit('echo', 1, 2, (...args) => resolve(args));
        });
        assert.deepEqual(answer, [null, 1, 2]);
      });

      it('retries: every event is acknowledged, published once and in order', async (t) => {
        const listener = (await open(t, gateway.url, kind)).record('number');
        await listener.done('join', 'room');
        const client = await open(t, gateway.url, { ...kind, retries: 3, ackTimeout: 10_000 });
        const answers = [];
        client.socket.emit('join', 'room', (error, answer) => answers.push([error, answer.ok]));
        for (let number = 0; number < 20; number += 1) {
          client.socket.emit('publish', 'room', 'number', number, (error, answer) => {
            answers.push([error, answer.ok]);
            client.changed();
          });
        }
        await client.until('21 acknowledgements', () => answers.length === 21);
        assert.ok(answers.every(([error, ok]) => error === null && ok === true));
        await listener.heard('number', 20);
        assert.deepEqual(listener.all('number'), Array.from({ length: 20 }, (_, number) => [number]));
      });

      it('a volatile event of a connected client is heard, one before the connection is dropped', async (t) => {
        const listener = (await open(t, gateway.url, kind)).record('news', 'end');
        await listener.done('join', 'room');
        const client = start(t, gateway.url, kind);
        client.socket.volatile.emit('publish', 'room', 'news', 'too early');
        await client.connected();
        await client.done('join', 'room');
        await client.done('publish', 'room', 'end');
        await listener.heard('end');
        assert.deepEqual(listener.all('news'), []);
        // A client drops a volatile event when its transport is busy: it is repeated until one gets through.
        for (let attempt = 0; attempt < 100 && listener.all('news').length === 0; attempt += 1) {
          client.socket.volatile.emit('publish', 'room', 'news', 'now');
          await client.ask('echo');
        }
        assert.deepEqual((await listener.heard('news'))[0], ['now']);
      });

      it('an auth payload is accepted, as an object and as a function', async (t) => {
        const first = await open(t, gateway.url, { ...kind, auth: { token: 'x', nested: { a: ['😀'] } } });
        assert.equal(await first.ask('echo', 1), 1);
        const second = await open(t, gateway.url, { ...kind, auth: (give) => give({ token: 'y' }) });
        assert.equal(await second.ask('echo', 2), 2);
      });

      it('a query is accepted', async (t) => {
        const client = await open(t, gateway.url, { ...kind, query: { a: 'b c&d', 'é': '😀' } });
        assert.equal(await client.ask('echo', 1), 1);
      });

      it('disconnect() ends the socket and the session', async (t) => {
        const client = await open(t, gateway.url, kind);
        const { engine } = client.socket.io;
        client.socket.disconnect();
        assert.equal(await client.disconnected(), 'io client disconnect');
        // The client's last words may still be on their way: the session is gone soon, not at once.
        const gone = async () => {
          for (;;) {
            const answer = await fetch(`${gateway.url}/socket.io/?EIO=4&transport=polling&sid=${engine.id}`);
            const body = await answer.text();
            if (answer.status === 400 && JSON.parse(body || '{}').code === 1) return;
          }
        };
        await within(gone(), () => 'the session is unknown');
      });

      it('events emitted before the connection are sent after it, in order', async (t) => {
        const client = start(t, gateway.url, kind);
        const answers = [];
        for (let number = 0; number < 10; number += 1) {
          client.socket.emit('echo', number, (answer) => {
            answers.push(answer);
            client.changed();
          });
        }
        await client.until('10 answers', () => answers.length === 10);
        assert.deepEqual(answers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      });

      it('no offset and no private id is sent: recovery is not offered', async (t) => {
        const client = (await open(t, gateway.url, kind)).record('news');
        const publisher = await open(t, gateway.url, kind);
        await client.done('join', 'room');
        await publisher.done('join', 'room');
        await publisher.done('publish', 'room', 'news', 'x');
        assert.deepEqual(await client.heard('news'), [['x']]);
        assert.ok(!client.socket.recovered);
      });
    });
  }
});
