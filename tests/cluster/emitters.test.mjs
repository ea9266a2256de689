/** What programs without a server publish reaches the clients of every server that reads their encoding. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { binaries, VALUES } from '../clients/samples.mjs';
import { plain } from '../clients/wrap.mjs';
import { makeEmitter } from './emitters.mjs';
import { connect, connectAll, fleet, GATEWAY } from './fleet.mjs';

/**
 * Emitters and those who understand them: 0.x and 1.x write an encoding that servers from socket.io-redis 3.0 on read
 * differently where there is binary, long texts or undefined.
 */
const PAIRS = [
  ['@socket.io/redis-emitter 5.1.0', 'Node 4'],
  ['@socket.io/redis-emitter 5.1.0', 'Node 4, adapter 7'],
  ['@socket.io/redis-emitter 5.1.0, ioredis', 'Node 4'],
  ['socket.io-emitter 3.2.0', 'Node 4'],
  ['socket.io-emitter 3.2.0', 'Node 2'],
  ['socket.io-emitter 3.2.0', 'Node 1'],
  ['socket.io-emitter 1.1.0', 'Node 1, adapter 2'],
  ['@socket.io/redis-emitter 5.1.0', GATEWAY],
  ['@socket.io/redis-emitter 5.1.0, ioredis', GATEWAY],
  ['socket.io-emitter 3.2.0', GATEWAY],
];

/** Why these two are missing is told in `broadcast.test.mjs`. */
const values = Object.entries(VALUES).filter(([name]) => !['half of a surrogate pair', 'large and small numbers'].includes(name));
const attachments = Object.entries(binaries((bytes) => Buffer.from(bytes))).map(([name, args]) => [name, ...args]);

for (const [emitterName, serverKind] of PAIRS) {
  describe(`${emitterName} to ${serverKind}`, () => {
    const cluster = fleet([serverKind], { namespaces: ['/', '/chat'] });
    const isOldest = emitterName === 'socket.io-emitter 1.1.0';
    const setUp = async (t, options) => {
      const [server] = cluster.servers;
      return { server, emitter: await makeEmitter(t, cluster.redis, emitterName), clients: await connectAll(t, server, options) };
    };

    for (const namespace of ['/', '/chat']) {
      it(`${namespace}: everybody, a room, several rooms`, async (t) => {
        const { emitter, clients } = await setUp(t, { namespace, events: ['news'] });
        const [inside, outside] = clients;
        await inside.done('join', ['one', 'two']);
        emitter.emit({ namespace }, 'news', 'all');
        emitter.emit({ namespace, rooms: ['one'] }, 'news', 'one');
        // The oldest publishes once for each room, so that who is in both hears it twice: it is given one.
        emitter.emit({ namespace, rooms: isOldest ? ['two'] : ['one', 'two'] }, 'news', 'both');
        emitter.emit({ namespace }, 'end');
        for (const client of clients) await client.heard('end');
        assert.deepEqual(inside.all('news'), [['all'], ['one'], ['both']]);
        assert.deepEqual(outside.all('news'), [['all']]);
      });
    }

    it('every kind of value arrives unchanged', async (t) => {
      const { emitter, clients } = await setUp(t, { events: ['value'] });
      // socket.io-emitter 3 does not mark binary, and servers 1 and 2 then send it as JSON, `{"type":"Buffer",…}`.
      const garbled = emitterName === 'socket.io-emitter 3.2.0' && ['Node 1', 'Node 2'].includes(serverKind);
      const sent = garbled ? values : [...values, ...attachments];
      for (const args of sent) emitter.emit({}, 'value', ...args);
      for (const client of clients) {
        const heard = await client.heard('value', sent.length);
        sent.forEach((args, index) => assert.deepEqual(heard[index], args.map(plain), `${client.name}: ${args[0]}`));
      }
    });

    it('volatile', async (t) => {
      const { emitter, clients } = await setUp(t, { events: ['news'] });
      emitter.emit({ flags: { volatile: true } }, 'news', 1);
      assert.deepEqual(await clients[0].heard('news'), [[1]]);
    });

    if (!emitterName.startsWith('@socket.io')) return;

    it('those left out hear nothing', async (t) => {
      const { emitter, clients } = await setUp(t, { events: ['news'] });
      const [byRoom, byId, ...rest] = clients;
      await byRoom.done('join', 'out');
      emitter.emit({ except: ['out', byId.id] }, 'news', 1);
      emitter.emit({}, 'end');
      for (const client of clients) await client.heard('end');
      assert.deepEqual([byRoom.all('news'), byId.all('news')], [[], []]);
      for (const client of rest) assert.deepEqual(client.all('news'), [[1]], client.name);
    });

    it('sockets are made to join, leave and disconnect', async (t) => {
      const { server, emitter, clients } = await setUp(t, { events: ['news'] });
      const [target, other, ...rest] = clients;
      await Promise.all(clients.map((client) => client.done('join', 'base')));
      emitter.act('socketsJoin', { rooms: [target.id] }, ['made', 'kept']);
      for (const room of ['made', 'kept']) await cluster.redis.hears(server, room);
      emitter.emit({ rooms: ['made'] }, 'news', 1);
      emitter.act('socketsLeave', { rooms: ['made'] }, 'made');
      emitter.emit({ rooms: ['made'] }, 'news', 2);
      emitter.emit({ rooms: ['kept'] }, 'news', 3);
      await target.heard('news', 2);
      assert.deepEqual(target.all('news'), [[1], [3]]);
      emitter.emit({}, 'news', 'bye');
      emitter.act('disconnectSockets', { rooms: ['base'], except: [other.id] });
      for (const client of [target, ...rest]) assert.match(await client.disconnected(), /io server disconnect|transport close/);
      for (const client of clients) assert.deepEqual((await client.heard('news')).at(-1), ['bye'], client.name);
      assert.deepEqual(other.disconnects, []);
      assert.equal((await other.ask('echo', 1)), 1);
    });

    if (serverKind === GATEWAY) return;

    it('servers are told', async (t) => {
      const { emitter, server } = await setUp(t);
      emitter.act('serverSideEmit', {}, 'note', 'hello', 1);
      assert.deepEqual(await server.noted(1), [['hello', 1]]);
    });
  });
}

describe('the oldest emitter, socket.io-emitter 0.1.0', () => {
  const cluster = fleet(['Node 1.0', 'Node 1.0']);

  it('reaches the oldest servers, with plain values', async (t) => {
    const emitter = await makeEmitter(t, cluster.redis, 'socket.io-emitter 0.1.0');
    const clients = await Promise.all(cluster.servers.map((server) => connect(t, server, '1.7.4', { events: ['news'] })));
    emitter.emit({}, 'news', 'hello', { n: [1, null] });
    for (const client of clients) assert.deepEqual(await client.heard('news'), [['hello', { n: [1, null] }]]);
  });
});
