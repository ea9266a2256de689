/**
 * Which pages may connect: what Chromium sends as Origin, Referer and Sec-Fetch-Site, met by the gateway's rules.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { Browser, FILE, FOREIGN_HOST, PAGES_AT_ONCE, waysOf } from './browser.mjs';
import { Gateway } from './gateway.mjs';

/** The browser writes these headers, not the client: the first generation, the last with JSONP, and today's. */
const SENDERS = ['1.0.6', '2.5.0', '4.8.4'];

let browser;
before(async () => {
  browser = await Browser.start();
});
after(() => browser.stop());

describe('origins', { concurrency: PAGES_AT_ONCE }, () => {
  let closed;
  let listed;
  before(async () => {
    closed = await Gateway.start();
    listed = await Gateway.start({ server: `origins = ["http://${FOREIGN_HOST}:${browser.port}", "null"]` });
  });
  after(async () => {
    await Promise.all([closed, listed].map((gateway) => gateway?.stop()));
  });

  for (const generation of SENDERS) {
    for (const way of waysOf(generation)) {
      it(`${generation}, ${way}: a page of a foreign site is refused`, async (t) => {
        const page = await browser.startClient(t, closed.url, { generation, way, host: FOREIGN_HOST });
        assert.match(await page.refused(), /error/);
      });

      it(`${generation}, ${way}: a page of a listed site is served`, async (t) => {
        const page = await browser.openClient(t, listed.url, { generation, way, host: FOREIGN_HOST });
        assert.deepEqual((await page.ask('join', 'room')).rooms, ['room']);
      });

      it(`${generation}, ${way}: a page that is a file is refused, and served where "null" is listed`, async (t) => {
        const page = await browser.startClient(t, closed.url, { generation, way, host: FILE });
        assert.match(await page.refused(), /error/);
        const welcome = await browser.openClient(t, listed.url, { generation, way, host: FILE });
        assert.deepEqual((await welcome.ask('join', 'room')).rooms, ['room']);
      });
    }
  }
});
