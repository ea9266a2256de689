/** Everything that clients do works behind every balancer, and its own log shows not one failed request. */

import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';

import { VARIANTS, eventually, failed } from './balancer.mjs';
import { behind, forwarded, sticks, visit } from './behind.mjs';
import { Poller } from './raw.mjs';
import { KINDS, converse, sendLarge, talk } from './traffic.mjs';

/** How long clients talk in one room, each time the tests run; soak.mjs does it for longer. */
const SECONDS = 2;

/** Whether a client's session ends on a WebSocket. */
const hasWebSocket = ({ kind }) => kind.transport !== 'polling only';

for (const variant of Object.keys(VARIANTS)) {
  describe(variant, () => {
    const cluster = behind(variant);
    const clients = [];
    const lasting = [];
    after(async () => {
      for (const end of lasting.reverse()) await end();
    });

    it('serves every generation over every transport', async () => {
      const t = { after: (end) => lasting.push(end) };
      clients.push(...(await Promise.all(KINDS.map((kind) => visit(t, cluster.balancer, kind)))));
      await talk(clients);
    });

    it('passes messages close to the largest both ways', () => sendLarge(clients));

    it('says who its clients are, whatever they say themselves', async (t) => {
      const liar = await visit(t, cluster.balancer, {
        generation: '4.8.4',
        transport: 'polling only',
        extraHeaders: { 'X-Forwarded-For': '192.0.2.1', 'Forwarded': 'for=192.0.2.1' },
      });
      const said = ({ address }) => cluster.servers.some(({ log }) => log.includes(` address=${address}\n`));
      for (const client of [...clients, liar]) await eventually(() => said(client), () => `a gateway's log names ${client.name}`);
      for (const { log } of cluster.servers) assert.doesNotMatch(log, /192\.0\.2\.1/);
      liar.close();
    });

    it(`loses, doubles and reorders nothing while clients come and go (${SECONDS} s)`, async (t) => {
      const { visits, deliveries } = await converse(t, cluster.balancer, SECONDS);
      t.diagnostic(`${variant}: ${visits} visits, ${deliveries} deliveries`);
    });

    it('passes on that clients close', async (t) => {
      const witness = await visit(t, cluster.balancer, { generation: '4.8.4', transport: 'WebSocket only', events: ['presence'] });
      await witness.done('join', 'porch');
      const shown = [];
      for (const client of clients) shown.push((await client.done('join', 'porch')).socket);
      for (const client of clients) {
        assert.deepEqual([client.disconnects, client.errors], [[], []], client.name);
        client.close();
      }
      const left = () => witness.all('presence').filter(([{ action }]) => action === 'leave').map(([{ socket }]) => socket);
      await witness.until('heard that all left', () => left().length === clients.length);
      assert.deepEqual(left().sort(), shown.sort());
      witness.close();
    });

    it('has not seen one request fail', async () => {
      const { balancer } = cluster;
      const done = (entries) => clients.filter(hasWebSocket).every(({ address }) => entries.some(isWebSocketOf(address)));
      const entries = await balancer.entriesOnce('every WebSocket of the clients', done);
      assert.deepEqual(failed(entries), []);
      assert.deepEqual(balancer.complaints, []);
      for (const client of clients) assertNodes(balancer, client, entries.filter(({ client: from }) => from === client.address));
      // Those that keep no cookies are not sticky where all others are.
      const isNeeded = balancer.sticky === undefined || balancer.sticky === 'cookie';
      assert.deepEqual(Object.keys(await forwarded(cluster.servers)), isNeeded ? ['answered'] : []);
    });

    it('tells gateways at once that a client gave its poll up', async (t) => {
      const { balancer } = cluster;
      const witness = await visit(t, balancer, { generation: '4.8.4', transport: 'WebSocket only', events: ['presence'] });
      await witness.done('join', 'attic');
      const poller = await Poller.enter(balancer.url, 'attic');
      // What is asked behind the poll is answered, three times over, so the poll has come.
      await poller.abandon(async () => {
        for (let turn = 0; turn < 3; turn += 1) await poller.post('42["join","attic"]');
      });
      const movement = (action) => ({ room: 'attic', action, socket: poller.id, user: null });
      assert.deepEqual(await witness.heard('presence', 2), [[movement('join')], [movement('leave')]]);
    });

    const isWebSocketOf = (address) => ({ client, status }) =>
      client === address && (cluster.balancer.logsRequests ? status === 101 : status === 200);
  });
}

/** Requests of a session came to the nodes to which they should. */
function assertNodes(balancer, client, entries) {
  const nodes = new Set(entries.map(({ node }) => node));
  if (sticks(balancer, client)) assert.equal(nodes.size, 1, `${client.name} came to nodes ${[...nodes]}`);
  // Kept connections are logged once they are closed, where connections are all that the balancer knows.
  else if (client.transport === 'polling' && (balancer.logsRequests || !client.keepsConnections)) {
    assert.deepEqual([...nodes].sort(), [1, 2, 3], client.name);
  }
}
