/** A node leaves and comes back behind a balancer: who was on others notices nothing, and nobody's request fails. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { eventually } from './balancer.mjs';
import { behind, visit } from './behind.mjs';
import { KINDS } from './traffic.mjs';

const AGAIN = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };

for (const variant of ['nginx', 'nginx, ip_hash', 'HAProxy', 'HAProxy, cookie']) {
  describe(variant, () => {
    const cluster = behind(variant);

    it('clients of a node that leaves are back elsewhere, and on it once it is there again', async (t) => {
      const { balancer, servers } = cluster;
      const clients = await Promise.all(KINDS.map((kind) => visit(t, balancer, { ...kind, ...AGAIN })));
      const [, leaving] = servers;
      const isOn = (server, { address }) => server.log.includes(` address=${address}\n`);
      const moved = clients.filter((client) => isOn(leaving, client));
      assert.ok(moved.length > 0 && moved.length < clients.length, `${moved.length} of ${clients.length} on one node`);
      await leaving.halt();
      for (const client of moved) {
        const reason = await client.disconnected();
        assert.ok(['transport close', 'transport error'].includes(reason), `${client.name}: ${reason}`);
        await client.until('connected again', () => client.socket.connected);
      }
      await Promise.all(clients.map((client) => client.record('hello').done('join', 'room')));
      await Promise.all(clients.map((client) => client.done('publish', 'room', 'hello', client.name)));
      for (const client of clients) await client.heard('hello', clients.length - 1);
      for (const client of clients) assert.equal(client.disconnects.length, moved.includes(client) ? 1 : 0, client.name);

      leaving.log = '';
      await leaving.launch();
      const isBack = async () => {
        const guest = await visit(t, balancer, { generation: '4.8.4', transport: 'WebSocket only' });
        await guest.done('join', 'room');
        guest.close();
        return isOn(leaving, guest);
      };
      await eventually(isBack, () => 'new clients come to the node again');
      for (const client of clients) client.close();
      const count = ({ length }) => length;
      const entries = await balancer.entriesOnce('something', count);
      assert.deepEqual(entries.filter(({ status }) => ![101, 200].includes(status)).slice(0, 5), []);
    });
  });
}
