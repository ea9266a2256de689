/**
 * Rules in the configuration and no backend: the stock chat example works, and each action does what it says.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { MATRIX, open } from './clients.mjs';
import { Gateway } from './gateway.mjs';

describe('one rule and no backend', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({
      rest: `
[[namespace]]
name = "/"
[[namespace.event]]
name = "chat message"
action = "broadcast"
echo = true
`,
    });
  });
  after(() => gateway.stop());

  for (const kind of MATRIX) {
    it(`${kind.name}: the stock chat example works, the sender hears itself too`, async (t) => {
      const [first, second] = await Promise.all([open(t, gateway.url, kind), open(t, gateway.url, kind)]);
      first.record('chat message');
      second.record('chat message');
      first.socket.emit('chat message', 'hi 😀');
      assert.deepEqual(await first.heard('chat message'), [['hi 😀']]);
      assert.deepEqual(await second.heard('chat message'), [['hi 😀']]);
      assert.deepEqual(await second.ask('chat message', 'and back', { n: 1 }), { ok: true });
      assert.deepEqual(await first.heard('chat message', 2), [['hi 😀'], ['and back', { n: 1 }]]);
      await second.heard('chat message', 2);
    });
  }
});

describe('rules', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({
      rest: `
[[namespace]]
name = "/"
rooms = ["lobby"]
[[namespace.event]]
name = "all"
action = "broadcast"
[[namespace.event]]
name = "lobby *"
action = "broadcast"
to = "room:lobby"
[[namespace.event]]
name = "echo"
action = "ack"
[[namespace.event]]
name = "subscribe"
action = "join"
[[namespace.event]]
name = "say"
action = "publish"
echo = true
[[namespace.event]]
name = "leave"
action = "drop"
[[namespace]]
name = "/rooms"
[[namespace.event]]
name = "all"
action = "broadcast"
[[namespace.event]]
name = "mine"
action = "broadcast"
to = "rooms"
echo = true
[[namespace]]
name = "/open"
otherwise = "broadcast"
`,
    });
  });
  after(() => gateway.stop());

  const pair = (t, kind, namespace = '') =>
    Promise.all([open(t, gateway.url, { ...kind, namespace }), open(t, gateway.url, { ...kind, namespace })]);

  for (const kind of MATRIX) {
    describe(kind.name, () => {
      it('broadcast reaches everybody else in the namespace', async (t) => {
        const [first, second] = await pair(t, kind);
        first.record('all');
        second.record('all');
        first.socket.emit('all', 1);
        await second.heard('all');
        second.socket.emit('all', 2);
        assert.deepEqual(await first.heard('all'), [[2]]);
        assert.deepEqual(second.all('all'), [[1]]);
      });

      it('broadcast to the rooms of the sender reaches those in them and nobody else', async (t) => {
        const clients = [...(await pair(t, kind, '/rooms')), await open(t, gateway.url, { ...kind, namespace: '/rooms' })];
        const [first, second, third] = clients;
        for (const client of clients) client.record('mine', 'all');
        assert.equal((await first.ask('mine', 'no room yet')).error, 'forbidden');
        await first.done('join', ['a', 'c']);
        await second.done('join', ['a', 'c']);
        await third.done('join', 'b');
        await first.done('mine', 1);
        await first.done('all', 'end');
        for (const client of [second, third]) await client.heard('all');
        assert.deepEqual(clients.map((client) => client.all('mine')), [[[1]], [[1]], []]);
      });

      it('broadcast to a named room, by a pattern of events', async (t) => {
        const [first, second] = await pair(t, kind);
        second.record('lobby news');
        await first.done('lobby news', 'x');
        assert.deepEqual(await second.heard('lobby news'), [['x']]);
      });

      it('rooms of the namespace are joined on connect', async (t) => {
        const [first] = await pair(t, kind);
        const { rooms } = await first.done('join', 'more');
        assert.deepEqual(rooms.sort(), ['lobby', 'more']);
      });

      it('ack answers with the event\'s own arguments', async (t) => {
        const [first] = await pair(t, kind);
        assert.deepEqual(await first.askAll('echo', 1, 'two 😀', { three: [3, null] }), [1, 'two 😀', { three: [3, null] }]);
        assert.deepEqual(await first.askAll('echo'), []);
      });

      it('actions work under other names', async (t) => {
        const [first, second] = await pair(t, kind);
        first.record('news');
        second.record('news');
        await first.done('subscribe', 'room');
        await second.done('join', 'room');
        await first.done('say', 'room', 'news', 'with an echo');
        assert.deepEqual(await first.heard('news'), [['with an echo']]);
        assert.deepEqual(await second.heard('news'), [['with an echo']]);
      });

      it('a rule takes a built-in event away', async (t) => {
        const [first] = await pair(t, kind);
        assert.equal((await first.ask('leave', 'lobby')).error, 'no_rule');
      });

      it('what no rule names is broadcast where the namespace says so', async (t) => {
        const [first, second] = await pair(t, kind, '/open');
        second.record('anything');
        first.socket.emit('anything', 'goes', 1);
        assert.deepEqual(await second.heard('anything'), [['goes', 1]]);
      });
    });
  }
});
