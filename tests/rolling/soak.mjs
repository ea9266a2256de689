/**
 * Rolling restarts by hand, with the default times of [drain] and the balancers' files as they are:
 *
 *   cargo build --release && node tests/rolling/soak.mjs [ROUNDS] [CLIENTS]
 *
 * A round of three gateways takes about a minute and a half; two rounds and 240 clients where nothing is said. Wants HAProxy,
 * nginx, Redis and the packages of tests/clients and tests/cluster, as tests/run installs them.
 */

import assert from 'node:assert/strict';

import { RECONNECTION_DELAY } from './crowd.mjs';
import { judge, replaceAll, start } from './restart.mjs';
import { byHand } from './until.mjs';

const DEFAULTS = { delay: '5s', spread: '20s', timeout: '30s' };

const [rounds = 2, members = 240] = process.argv.slice(2).map(Number);

await byHand(async (t) => {
  const cluster = await start(t, { members, publishers: 12, drain: DEFAULTS, asksOften: false });
  for (let round = 1; round <= rounds; round += 1) {
    for (const { name, code, took } of await replaceAll(cluster, { patience: 40_000 })) {
      console.log(`round ${round}: ${name} ended with ${code} after ${Math.round(took)} ms`);
      assert.ok(code === 0 && took < 30_000);
    }
  }
  const { complaints, failures } = await judge(t, cluster);
  assert.deepEqual([failures, complaints], [[], []]);
  assert.ok(cluster.crowd.gaps.at(-1) < RECONNECTION_DELAY + 1_000);
  console.log('1 passed, 0 failed');
});
