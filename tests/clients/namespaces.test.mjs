/**
 * Namespaces: exact, by pattern, unknown, left and joined again; for every client generation over every transport.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { MATRIX, beside, isOld, open, start } from './clients.mjs';
import { Gateway } from './gateway.mjs';

describe('namespaces', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({
      rest: `
[[namespace]]
name = "/"
[[namespace]]
name = "/chat"
[[namespace]]
name = "/org-*"
`,
    });
  });
  after(() => gateway.stop());

  for (const kind of MATRIX) {
    describe(kind.name, () => {
      const inside = (t, namespace) => open(t, gateway.url, { ...kind, namespace });

      /** Two members of one room, in one namespace each; resolves to what the second heard of the first. */
      async function carries(t, from, to) {
        const [first, second] = await Promise.all([inside(t, from), inside(t, to)]);
        const helper = await inside(t, to);
        second.record('news', 'end');
        for (const client of [first, second, helper]) await client.done('join', 'room');
        await first.done('publish', 'room', 'news', 'x');
        await helper.done('publish', 'room', 'end');
        await second.heard('end');
        return second.all('news');
      }

      it('rooms of the same name in two namespaces are two rooms', async (t) => {
        assert.deepEqual(await carries(t, '/chat', '/chat'), [['x']]);
        assert.deepEqual(await carries(t, '/chat', '/'), []);
        assert.deepEqual(await carries(t, '/', '/chat'), []);
      });

      it('each name under a pattern is a namespace of its own', async (t) => {
        assert.deepEqual(await carries(t, '/org-1', '/org-1'), [['x']]);
        assert.deepEqual(await carries(t, '/org-1', '/org-2'), []);
      });

      it('a query on the namespace is not part of its name', async (t) => {
        assert.deepEqual(await carries(t, '/chat?token=x&y=%20z', '/chat'), [['x']]);
        const client = await inside(t, '/org-7?token=x');
        assert.equal(client.socket.nsp, '/org-7');
      });

      it('an unknown namespace is refused in the words of its generation', async (t) => {
        const client = start(t, gateway.url, { ...kind, namespace: '/nowhere' });
        const error = await client.refused();
        if (isOld(kind.generation)) assert.equal(error, 'Invalid namespace');
        else assert.equal(error.message, 'Invalid namespace');
        assert.equal(client.socket.connected, false);
      });

      it('a refused namespace does not disturb the others of the session', async (t) => {
        const root = (await open(t, gateway.url, kind)).record('news');
        const nowhere = beside(t, root, '/nowhere');
        await nowhere.refused();
        await root.done('join', 'room');
        assert.deepEqual(root.disconnects, []);
        assert.equal(root.socket.connected, true);
      });

      it('several namespaces share a session and keep their messages apart', async (t) => {
        const root = (await open(t, gateway.url, kind)).record('news');
        const chat = beside(t, root, '/chat').record('news');
        await chat.connected();
        const friend = await inside(t, '/chat');
        for (const client of [root, chat, friend]) await client.done('join', 'room');
        await friend.done('publish', 'room', 'news', 'for chat');
        assert.deepEqual(await chat.heard('news'), [['for chat']]);
        assert.deepEqual(root.all('news'), []);
      });

      it('leaving one namespace keeps the other, and it can be joined again', async (t) => {
        const root = await open(t, gateway.url, kind);
        const chat = beside(t, root, '/chat').record('news');
        await chat.connected();
        await chat.done('join', 'room');
        chat.socket.disconnect();
        assert.equal(await chat.disconnected(), 'io client disconnect');
        assert.deepEqual((await root.done('join', 'room')).rooms, ['room']);

        chat.socket.connect();
        await chat.until('connected again', () => chat.socket.connected && chat.id);
        assert.deepEqual((await chat.done('join', 'another')).rooms, ['another'], 'a new socket is in no room');
        assert.deepEqual(root.disconnects, []);
      });
    });
  }
});

describe('a gateway without the root namespace', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({ rest: '[[namespace]]\nname = "/chat"\n' });
  });
  after(() => gateway.stop());

  for (const kind of MATRIX) {
    it(`${kind.name}: serves the namespaces it has`, async (t) => {
      const chat = await open(t, gateway.url, { ...kind, namespace: '/chat' });
      assert.deepEqual((await chat.done('join', 'room')).rooms, ['room']);
    });

    it(`${kind.name}: has nothing to offer at the root`, async (t) => {
      const root = start(t, gateway.url, kind);
      if (isOld(kind.generation)) {
        // Generations 1 and 2 are given a root socket whatever happens, but it can do nothing.
        await root.connected();
        assert.equal((await root.ask('join', 'room')).error, 'no_rule');
      } else {
        assert.equal((await root.refused()).message, 'Invalid namespace');
      }
    });
  }
});
