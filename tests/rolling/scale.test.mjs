/** A cluster grows from two gateways to five and shrinks again, under load. */

import assert from 'node:assert/strict';
import { it } from 'node:test';

import { RECONNECTION_DELAY } from './crowd.mjs';
import { ends, metric, startNode } from './nodes.mjs';
import { place } from './places.mjs';
import { judge, start } from './restart.mjs';
import { backwards, until } from './until.mjs';

it('new gateways serve at once, and three that leave together are not missed', async (test) => {
  const t = backwards(test);
  const places = [3, 4, 5].map((number) => ({ name: `gateway-${number}`, host: place() }));
  const cluster = await start(t, { nodes: 2, members: 60, publishers: 4, others: places });
  const { redis, nodes, urls, balancers: [haproxy, nginx], crowd } = cluster;

  const added = [];
  for (const { name, host } of places) {
    const node = await startNode(t, redis, { name, host });
    added.push(node);
    // The first that come, before any balancer has seen it; what others publish from then on is owed to them.
    await crowd.gather([node.url], 2, { transports: ['WebSocket only', 'polling only'], name: `early on ${name}` });
    await until(`${haproxy.name} sends clients to ${name}`, () => haproxy.isUp(node));
  }
  await nginx.reload([...nodes, ...added]);
  await crowd.gather(urls, 40, { transports: cluster.transports, name: 'newcomer' });
  for (const node of added) assert.ok((await metric(node, 'roomcast_connections')) > 2, `${node.name} has its share`);

  // Those who came directly have nowhere else to go.
  crowd.dismiss(({ name }) => name.startsWith('early'));
  await nginx.reload(nodes);
  const ended = await Promise.all(added.map((node) => ends(node)));
  const { complaints, failures, counts } = await judge(t, cluster);

  assert.deepEqual(ended.filter(({ code, took }) => code !== 0 || took > 8_000), []);
  assert.deepEqual(failures, []);
  assert.deepEqual(complaints, []);
  assert.ok(crowd.gaps.length > 0, 'somebody had to move');
  assert.ok(crowd.gaps.at(-1) < RECONNECTION_DELAY + 1_000, `somebody was away for ${crowd.gaps.at(-1)} ms`);
  assert.ok(counts.missed > 0, 'something was published while somebody was away');
});
