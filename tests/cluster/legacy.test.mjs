/** What Socket.IO 1 and 2 servers ask of the others, over socket.io-redis: about sockets of another server, or a gateway. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { connect, connectAll, fleet, GATEWAY, runnable } from './fleet.mjs';

const PAIRS = runnable([
  ['Node 2', 'Node 2'],
  ['Node 2', 'Node 1'],
  ['Node 1', 'Node 2'],
  ['Node 1', 'Node 1'],
  ['Node 1, adapter 2', 'Node 1, adapter 2'],
  ['Node 2', GATEWAY],
  ['Node 1', GATEWAY],
]);

const idsOf = (clients) => clients.map(({ id }) => id).sort();

for (const [askerKind, otherKind] of PAIRS) {
  describe(`${askerKind} asks ${otherKind}`, () => {
    const cluster = fleet([askerKind, otherKind]);
    const setUp = async (t, options = {}) => {
      const [asker, other] = cluster.servers;
      const [clients, near] = await Promise.all([connectAll(t, other, options), connect(t, asker, asker.clients.at(-1), options)]);
      return { asker, other, clients, near };
    };

    it('clients: the ids in rooms, over both servers', async (t) => {
      const { asker, clients, near } = await setUp(t);
      const [first, ...rest] = clients;
      assert.deepEqual((await asker.ask('clients')).sort(), idsOf([...clients, near]));
      await Promise.all([first, near].map((client) => client.done('join', 'r')));
      await rest[0].done('join', 's');
      assert.deepEqual((await asker.ask('clients', { rooms: ['r'] })).sort(), idsOf([first, near]));
      assert.deepEqual((await asker.ask('clients', { rooms: ['r', 's'] })).sort(), idsOf([first, near, rest[0]]));
      assert.deepEqual(await asker.ask('clients', { rooms: ['nobody'] }), []);
    });

    it('clientRooms: the rooms of a socket on the other server', async (t) => {
      const { asker, clients } = await setUp(t);
      for (const client of clients) {
        await client.done('join', ['a', 'b']);
        assert.deepEqual((await asker.ask('clientRooms', { socket: client.id })).sort(), ['a', 'b', client.id].sort(), client.name);
      }
    });

    // The rest came with socket.io-redis 3.
    if (askerKind === 'Node 1, adapter 2') return;

    it('allRooms', async (t) => {
      const { asker, clients, near } = await setUp(t);
      await clients[0].done('join', 'far room');
      await near.done('join', 'near room');
      const rooms = new Set(await asker.ask('legacyAllRooms'));
      assert.deepEqual(['far room', 'near room', clients[0].id, near.id].filter((room) => !rooms.has(room)), []);
    });

    it('remoteJoin and remoteLeave: once they are answered, it is so', async (t) => {
      const { asker, clients } = await setUp(t, { events: ['news'] });
      for (const client of clients) {
        await asker.ask('remoteJoin', { socket: client.id, room: 'made' });
        await asker.emit({ rooms: ['made'] }, 'news', 1);
        await client.heard('news');
        await asker.ask('remoteLeave', { socket: client.id, room: 'made' });
        await asker.emit({ rooms: ['made'] }, 'news', 2);
        await asker.emit({}, 'end');
        await client.heard('end');
        assert.deepEqual(client.all('news'), [[1]], client.name);
        client.all('end').length = 0;
        assert.deepEqual((await client.done('join', 'last')).rooms, ['last'], client.name);
      }
    });

    it('remoteDisconnect: the namespace alone, or the connection', async (t) => {
      const { asker, clients } = await setUp(t);
      const [first, second, ...rest] = clients;
      await asker.ask('remoteDisconnect', { socket: first.id, close: false });
      assert.equal(await first.disconnected(), 'io server disconnect');
      await asker.ask('remoteDisconnect', { socket: second.id, close: true });
      assert.match(await second.disconnected(), /io server disconnect|transport close/);
      for (const client of rest) assert.deepEqual([await client.ask('echo', 1), client.disconnects], [1, []]);
    });

    it('customRequest: an answer of each server, its own too', async (t) => {
      const { asker, other } = await setUp(t);
      const answers = await asker.ask('customRequest', { data: { n: 1 } });
      const mine = { from: asker.version, data: { n: 1 } };
      // A gateway answers null, as a real server without a hook does.
      const theirs = other.isGateway ? null : { from: other.version, data: { n: 1 } };
      assert.equal(answers.length, 2);
      for (const answer of [mine, theirs]) assert.ok(answers.some((item) => JSON.stringify(item) === JSON.stringify(answer)), JSON.stringify(answers));
    });
  });
}
