/**
 * What variants.test.mjs does for seconds, for as long as you like: soak.mjs SECONDS [VARIANT]…
 *
 * Rounds of messages in new sessions, while clients of every kind stay through all of them, mostly silent: parked polls
 * are answered by heartbeats, timeouts of balancers have time to strike.
 */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { VARIANTS, failed } from './balancer.mjs';
import { behind, visit } from './behind.mjs';
import { KINDS, converse, talk } from './traffic.mjs';

const ROUND_SECONDS = 15;

const [seconds, ...chosen] = process.argv.slice(2);
const variants = chosen.length > 0 ? chosen : Object.keys(VARIANTS);
if (!(Number(seconds) > 0) || variants.some((variant) => !VARIANTS[variant])) {
  console.error(`soak.mjs SECONDS [VARIANT]…, with variants of: ${Object.keys(VARIANTS).join(' · ')}`);
  process.exit(64);
}

for (const variant of variants) {
  describe(variant, () => {
    const cluster = behind(variant);

    it(`${seconds} s`, async (t) => {
      const { balancer } = cluster;
      const residents = await Promise.all(KINDS.map((kind) => visit(t, balancer, kind)));
      const sum = { visits: 0, deliveries: 0 };
      const end = Date.now() + seconds * 1000;
      for (let rest = end - Date.now(); rest > 0; rest = end - Date.now()) {
        const { visits, deliveries } = await converse(t, balancer, Math.min(ROUND_SECONDS, rest / 1000));
        sum.visits += visits;
        sum.deliveries += deliveries;
      }
      await talk(residents);
      for (const resident of residents) assert.deepEqual([resident.disconnects, resident.errors], [[], []], resident.name);
      const entries = await balancer.entries();
      assert.deepEqual(failed(entries), []);
      assert.deepEqual(balancer.complaints, []);
      t.diagnostic(`${sum.visits} visits, ${sum.deliveries} deliveries, ${entries.length} requests`);
    });
  });
}
