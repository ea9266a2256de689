/**
 * What everybody needs first: connect, join, publish, hear, leave, and a plain answer when something is refused.
 * For every client generation over every transport.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { MATRIX, isOld, open } from './clients.mjs';
import { Gateway } from './gateway.mjs';

/** What the gateway calls a socket when it talks to clients. */
const SHOWN_ID = /^[A-Za-z0-9_-]{20}$/;

const refusal = (answer, error) => {
  assert.equal(answer.ok, false, `refused: ${JSON.stringify(answer)}`);
  assert.equal(answer.error, error, answer.message);
  assert.equal(typeof answer.message, 'string');
  assert.notEqual(answer.message, '');
};

describe('rooms', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start();
  });
  after(() => gateway.stop());

  for (const kind of MATRIX) {
    describe(kind.name, () => {
      const other = { generation: '4.8.4', transport: 'WebSocket only' };

      it('connects, gets an id and its transport', async (t) => {
        const client = await open(t, gateway.url, kind);
        assert.ok(client.id.length >= 20, client.id);
        assert.equal(client.transport, kind.transport === 'polling only' ? 'polling' : 'websocket');
      });

      it('is told its rooms and the id others are shown', async (t) => {
        const client = await open(t, gateway.url, kind);
        const joined = await client.ask('join', 'one');
        assert.deepEqual(joined, { ok: true, rooms: ['one'], socket: joined.socket });
        assert.match(joined.socket, SHOWN_ID);
        // The id of generations 1 and 2 is the session's own secret: others must never see it.
        if (isOld(kind.generation)) assert.notEqual(joined.socket, client.id);
        else assert.equal(joined.socket, client.id);

        const more = await client.ask('join', ['two', 3]);
        assert.deepEqual({ ...more, rooms: more.rooms.sort() }, { ...joined, rooms: ['3', 'one', 'two'] });
        const left = await client.ask('leave', ['one', '3']);
        assert.deepEqual(left, { ok: true, rooms: ['two'] });
        assert.deepEqual(await client.ask('leave', 'two'), { ok: true, rooms: [] });
      });

      it('hears what another publishes to its room', async (t) => {
        const client = (await open(t, gateway.url, kind)).record('news');
        const publisher = await open(t, gateway.url, other);
        await client.done('join', 'room');
        await publisher.done('join', 'room');
        assert.deepEqual(await publisher.ask('publish', 'room', 'news', 1, { two: [3] }, null), { ok: true });
        assert.deepEqual(await client.heard('news'), [[1, { two: [3] }, null]]);
      });

      it('is heard by another, and does not hear itself', async (t) => {
        const client = (await open(t, gateway.url, kind)).record('news', 'end');
        const listener = (await open(t, gateway.url, other)).record('news');
        await client.done('join', 'room');
        await listener.done('join', 'room');
        assert.deepEqual(await client.ask('publish', 'room', 'news', 'a', 2), { ok: true });
        assert.deepEqual(await listener.heard('news'), [['a', 2]]);
        await listener.done('publish', 'room', 'end');
        await client.heard('end');
        assert.deepEqual(client.all('news'), []);
      });

      it('publishes without asking for an acknowledgement', async (t) => {
        const client = await open(t, gateway.url, kind);
        const listener = (await open(t, gateway.url, other)).record('news');
        await client.done('join', 'room');
        await listener.done('join', 'room');
        client.socket.emit('publish', 'room', 'news', 'quietly');
        assert.deepEqual(await listener.heard('news'), [['quietly']]);
      });

      it('hears a message to several of its rooms once', async (t) => {
        const client = (await open(t, gateway.url, kind)).record('news', 'end');
        const publisher = await open(t, gateway.url, other);
        await client.done('join', ['a', 'b']);
        await publisher.done('join', ['a', 'b']);
        await publisher.done('publish', ['a', 'b'], 'news', 'once');
        await publisher.done('publish', 'b', 'end');
        await client.heard('end');
        assert.deepEqual(client.all('news'), [['once']]);
      });

      it('hears nothing of a room it left', async (t) => {
        const client = (await open(t, gateway.url, kind)).record('news', 'end');
        const publisher = await open(t, gateway.url, other);
        await client.done('join', ['left', 'kept']);
        await publisher.done('join', ['left', 'kept']);
        await publisher.done('publish', 'left', 'news', 'before');
        await client.heard('news');
        await client.done('leave', 'left');
        await publisher.done('publish', 'left', 'news', 'after');
        await publisher.done('publish', 'kept', 'end');
        await client.heard('end');
        assert.deepEqual(client.all('news'), [['before']]);
      });

      it('hears nothing of a room it never joined', async (t) => {
        const client = (await open(t, gateway.url, kind)).record('news', 'end');
        const publisher = await open(t, gateway.url, other);
        await client.done('join', 'mine');
        await publisher.done('join', ['mine', 'theirs']);
        await publisher.done('publish', 'theirs', 'news', 'secret');
        await publisher.done('publish', 'mine', 'end');
        await client.heard('end');
        assert.deepEqual(client.all('news'), []);
      });

      it('is told why it was refused', async (t) => {
        const client = await open(t, gateway.url, kind);
        await client.done('join', 'mine');
        const foreign = await client.ask('publish', 'theirs', 'news', 1);
        refusal(foreign, 'forbidden');
        assert.match(foreign.message, /theirs/);
        refusal(await client.ask('publish', [], 'news', 1), 'bad_request');
        refusal(await client.ask('publish', 'mine'), 'bad_request');
        refusal(await client.ask('publish', 'mine', 'disconnect'), 'bad_request');
        refusal(await client.ask('publish', 'mine', { not: 'a name' }), 'bad_request');
        refusal(await client.ask('join', []), 'bad_request');
        refusal(await client.ask('join'), 'bad_request');
        refusal(await client.ask('join', { not: 'a room' }), 'bad_request');
        refusal(await client.ask('leave', []), 'bad_request');
        refusal(await client.ask('no such event', 1), 'no_rule');
        assert.deepEqual(await client.ask('publish', 'mine', 'news', 'still here'), { ok: true });
      });

      it('publishes to all the rooms it names or to none', async (t) => {
        const client = await open(t, gateway.url, kind);
        const listener = (await open(t, gateway.url, other)).record('news', 'end');
        await client.done('join', 'mine');
        await listener.done('join', ['mine', 'theirs']);
        const answer = await client.ask('publish', ['mine', 'theirs'], 'news', 1);
        refusal(answer, 'forbidden');
        assert.match(answer.message, /theirs/);
        await client.done('publish', 'mine', 'end');
        await listener.heard('end');
        assert.deepEqual(listener.all('news'), []);
      });

      it('cannot join a room that is named like a socket', async (t) => {
        const client = await open(t, gateway.url, kind);
        const victim = await open(t, gateway.url, other);
        for (const room of [victim.id, `/chat#${victim.id}`]) {
          const answer = await client.ask('join', room);
          assert.equal(answer.ok, false, room);
          assert.equal(typeof answer.message, 'string');
        }
        const { rooms } = await client.done('join', 'room');
        assert.deepEqual(rooms, ['room']);
      });

      it('leaves no trace when it goes', async (t) => {
        const client = await open(t, gateway.url, kind);
        const listener = (await open(t, gateway.url, other)).record('news');
        await client.done('join', 'room');
        await listener.done('join', 'room');
        client.close();
        const next = await open(t, gateway.url, kind);
        await next.done('join', 'room');
        await next.done('publish', 'room', 'news', 'from the next one');
        assert.deepEqual(await listener.heard('news'), [['from the next one']]);
      });
    });
  }
});
