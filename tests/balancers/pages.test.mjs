/** Pages of every generation in Chromium, behind a balancer that knows no sessions and behind one that sets a cookie. */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { BUNDLED, Browser, PAGES_AT_ONCE } from '../clients/browser.mjs';
import { eventually, failed } from './balancer.mjs';
import { behind, forwarded } from './behind.mjs';

/** A page of each generation; those that poll are of the generations that can leave without an error of their own. */
const WAYS = {
  '1.0.6': 'polling, then WebSocket',
  '1.1.0': 'WebSocket only',
  '1.3.7': 'polling, then WebSocket',
  '1.4.8': 'WebSocket only',
  '1.7.4': 'JSONP',
  '2.0.4': 'polling, then WebSocket',
  '2.5.0': 'polling only',
  '3.1.3': 'polling, then WebSocket',
  '4.8.4': 'polling only',
};
const MANY = BUNDLED.map((generation) => ({ generation, way: WAYS[generation] }));
/** One for each way. */
const FEW = [
  { generation: '1.7.4', way: 'JSONP' },
  { generation: '2.5.0', way: 'polling only' },
  { generation: '3.1.3', way: 'WebSocket only' },
  { generation: '4.8.4', way: 'polling, then WebSocket' },
];

const hasWebSocket = ({ way }) => way.includes('WebSocket');

let browser;
before(async () => {
  browser = await Browser.start();
});
after(() => browser.stop());

for (const [variant, kinds] of Object.entries({ 'nginx': MANY, 'HAProxy, cookie': FEW })) {
  describe(variant, () => {
    const cluster = behind(variant);

    it(`${kinds.length} pages hear each other, and not one request fails`, async (t) => {
      const { balancer } = cluster;
      const pages = [];
      while (pages.length < kinds.length) {
        const next = kinds.slice(pages.length, pages.length + PAGES_AT_ONCE);
        // Cookies for a page that came from another port.
        const open = (kind) => browser.openClient(t, balancer.url, { ...kind, withCredentials: true });
        pages.push(...(await Promise.all(next.map(open))));
      }
      for (const page of pages) {
        await page.record('hello');
        await page.done('join', 'room');
      }
      await Promise.all(pages.map((page) => page.done('publish', 'room', 'hello', page.name, 'é😀')));
      for (const page of pages) {
        const heard = await page.heard('hello', pages.length - 1);
        const others = pages.filter((other) => other !== page).map(({ name }) => [name, 'é😀']);
        assert.deepEqual([...heard].sort(), others.sort(), page.name);
      }
      await leave(cluster.servers, pages);
      const count = kinds.filter(hasWebSocket).length;
      const done = (entries) => entries.filter(({ status }) => status === 101).length === count;
      const entries = await balancer.entriesOnce('every WebSocket of the pages', done);
      assert.deepEqual(failed(entries), []);
      assert.deepEqual(balancer.complaints, []);
      assert.deepEqual([...new Set(entries.map(({ node }) => node))].sort(), [1, 2, 3]);
      assert.deepEqual(Object.keys(await forwarded(cluster.servers)), balancer.sticky ? [] : ['answered']);
    });
  });
}

/** Pages that poll say that they go, the others are closed: nobody gives a poll up. */
async function leave(gateways, pages) {
  const polling = pages.filter(({ name }) => !hasWebSocket({ way: name }));
  for (const page of polling) await page.close();
  const left = () => gateways.map(({ log }) => log.split('reason="client_left"').length - 1).reduce((sum, count) => sum + count);
  await eventually(() => left() === polling.length, () => `${polling.length} pages have left, ${left()} so far`);
  for (const page of pages) await page.inside.context().close();
}
