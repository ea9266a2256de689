/** Three gateways are replaced one after the other, twice, while clients of every generation talk through two balancers. */

import assert from 'node:assert/strict';
import { it } from 'node:test';

import { RECONNECTION_DELAY, spread } from './crowd.mjs';
import { replaceAll, start } from './restart.mjs';

it('nobody is refused, everybody is back at once, and nothing is lost but what was published meanwhile', async (t) => {
  const cluster = await start(t);
  const { balancers, crowd, ledger } = cluster;
  const ended = [...(await replaceAll(cluster)), ...(await replaceAll(cluster))];
  crowd.silence();
  await crowd.settled();

  const { complaints, ...counts } = ledger.verdict();
  const failures = [];
  for (const balancer of balancers) {
    const requests = await balancer.requests();
    failures.push(...requests.failures);
    t.diagnostic(`${balancer.name}: ${JSON.stringify(requests.counts)}`);
  }
  t.diagnostic(`exits after ${ended.map(({ took }) => `${Math.round(took)} ms`).join(', ')}`);
  t.diagnostic(`times that clients were away: ${spread(crowd.gaps)}`);
  t.diagnostic(`messages: ${JSON.stringify(counts)}`);

  assert.deepEqual(ended.filter(({ code, took }) => code !== 0 || took > 8_000), []);
  assert.deepEqual(crowd.complaints.slice(0, 10), []);
  assert.deepEqual(failures.slice(0, 10), []);
  assert.deepEqual(complaints.slice(0, 10), []);
  assert.ok(crowd.gaps.length >= crowd.members.length, 'every node had clients');
  assert.ok(crowd.gaps.at(-1) < RECONNECTION_DELAY + 1_000, spread(crowd.gaps));
  assert.ok(counts.missed > 0, 'something was published while somebody was away');
});
