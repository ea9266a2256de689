/**
 * Servers of two generations on one Redis, as during a migration, with a gateway among them.
 *
 * What upstream cannot do stays out: servers of generation 4 wait in vain for answers of generation 2, which do not know
 * their requests (socket.io-redis-adapter#506), and die of its `customRequest`, whose number means another request to them.
 */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { connectAll, fleet, GATEWAY, GATEWAYS_TAKE_PART, runnable } from './fleet.mjs';

const FLEETS = [
  ['Node 2', 'Node 4'],
  ['Node 2', 'Node 1', 'Node 4', 'Node 4, adapter 7'],
  ['Node 2', GATEWAY, 'Node 4'],
  ['Node 2', GATEWAY, 'Node 1', GATEWAY, 'Node 4', 'Node 4, adapter 7'],
];

for (const kinds of runnable(FLEETS)) {
  describe(kinds.join(' · '), () => {
    const cluster = fleet(kinds, { requestsTimeout: 1000 });

    it('everybody hears everybody, once and in the order of each', async (t) => {
      const clients = (await Promise.all(cluster.servers.map((server) => connectAll(t, server, { events: ['hello'] })))).flat();
      await Promise.all(clients.map((client) => client.done('join', 'room')));
      const numbers = [0, 1, 2, 3, 4];
      for (const number of numbers) {
        for (const client of clients) client.socket.emit('publish', 'room', 'hello', client.id, number);
      }
      for (const client of clients) {
        const heard = await client.heard('hello', (clients.length - 1) * numbers.length);
        for (const { id } of clients) {
          const expected = id === client.id ? [] : numbers;
          assert.deepEqual(heard.filter(([from]) => from === id).map(([, number]) => number), expected, `${client.name} of ${id}`);
        }
      }
    });

    it('what servers emit reaches the clients of all', async (t) => {
      const clients = (await Promise.all(cluster.servers.map((server) => connectAll(t, server, { events: ['news'] })))).flat();
      await Promise.all(clients.map((client) => client.done('join', ['one', 'two'])));
      const speakers = cluster.servers.filter((server) => !server.isGateway);
      for (const speaker of speakers) {
        await speaker.emit({}, 'news', speaker.name, 'all');
        await speaker.emit({ rooms: ['one'] }, 'news', speaker.name, 'one');
        await speaker.emit({ rooms: ['one', 'two'] }, 'news', speaker.name, 'both');
      }
      for (const client of clients) {
        const heard = await client.heard('news', 3 * speakers.length);
        for (const { name } of speakers) {
          assert.deepEqual(heard.filter(([from]) => from === name).map(([, what]) => what), ['all', 'one', 'both'], `${client.name} of ${name}`);
        }
      }
    });

    it('fetchSockets of generation 4 fails where there is a generation 2, as upstream', async () => {
      const asker = cluster.servers.find((server) => server.isModern && !server.isGateway);
      await assert.rejects(asker.ask('fetchSockets'), /timeout reached/);
    });

    if (!GATEWAYS_TAKE_PART || !kinds.includes(GATEWAY)) return;

    it('generation 2 is told of the gateway\'s sockets', async (t) => {
      const gateway = cluster.servers.find((server) => server.isGateway);
      const asker = cluster.servers.find((server) => server.name === 'Node 2');
      const [client] = await connectAll(t, gateway);
      await client.done('join', 'r');
      await asker.ask('remoteJoin', { socket: client.id, room: 'made' });
      assert.deepEqual((await client.done('join', 'r')).rooms.sort(), ['made', 'r']);
      await asker.ask('remoteDisconnect', { socket: client.id, close: false });
      assert.equal(await client.disconnected(), 'io server disconnect');
    });
  });
}
