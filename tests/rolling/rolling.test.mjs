/** Three gateways are replaced one after the other, twice, while clients of every generation talk through two balancers. */

import assert from 'node:assert/strict';
import { it } from 'node:test';

import { RECONNECTION_DELAY } from './crowd.mjs';
import { judge, replaceAll, start } from './restart.mjs';
import { backwards } from './until.mjs';

it('nobody is refused, everybody is back at once, and nothing is lost but what was published meanwhile', async (test) => {
  const t = backwards(test);
  const cluster = await start(t);
  const { crowd } = cluster;
  const ended = [...(await replaceAll(cluster)), ...(await replaceAll(cluster))];
  t.diagnostic(`exits after ${ended.map(({ took }) => `${Math.round(took)} ms`).join(', ')}`);
  const { complaints, failures, counts } = await judge(t, cluster);

  assert.deepEqual(ended.filter(({ code, took }) => code !== 0 || took > 8_000), []);
  assert.deepEqual(failures, []);
  assert.deepEqual(complaints, []);
  assert.ok(crowd.gaps.length >= crowd.members.length, 'every node had clients');
  assert.ok(crowd.gaps.at(-1) < RECONNECTION_DELAY + 1_000, `somebody was away for ${crowd.gaps.at(-1)} ms`);
  assert.ok(counts.missed > 0, 'something was published while somebody was away');
});
