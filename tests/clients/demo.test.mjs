/**
 * The demo page as the gateway serves it: two tabs of one visitor talk in a room, under the page's own policy.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { Browser } from './browser.mjs';
import { Gateway } from './gateway.mjs';

/** What the page's menu calls its transports, and what it says it runs on. */
const TRANSPORTS = { websocket: 'WebSocket', polling: 'HTTP long polling' };

/** A text that must stay a text. */
const TEXT = 'hello é😀 <img src=x onerror="document.title=1"> & "quotes"';

let browser;
before(async () => {
  browser = await Browser.start();
});
after(() => browser.stop());

/** Everything that the browser complains about on the pages of a visitor. */
function complaintsOf(visitor) {
  const complaints = [];
  visitor.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  visitor.on('weberror', (error) => complaints.push(String(error.error())));
  return complaints;
}

/**
 * Has the page connect over this transport, and waits until it is in the room that it shows. By itself it begins with
 * WebSocket; it is let finish that first, as browsers complain of a WebSocket that is closed while it connects.
 */
async function connect(page, transport) {
  await page.locator('#status.connected').waitFor();
  if (transport !== 'websocket') await page.selectOption('#prefer', transport);
  await page.locator('#transport', { hasText: TRANSPORTS[transport] }).waitFor();
  await page.locator('#membership', { hasText: 'You are in this room' }).waitFor();
}

async function say(page, text) {
  await page.bringToFront(); // a tab in the background is slow to click
  await page.fill('#text', text);
  await page.click('#say button');
}

/** Waits for a message of the other tab in the room that this tab shows. */
const hears = (page, text) => page.locator('#messages ol:visible li:not(.mine):not(.note)').getByText(text, { exact: true }).waitFor();

for (const path of ['/socket.io/', '/live/']) {
  describe(`the demo page, Socket.IO at ${path}`, () => {
    let gateway;
    before(async () => {
      gateway = await Gateway.start({ server: `path = ${JSON.stringify(path)}` });
    });
    after(() => gateway.stop());

    for (const [first, second] of [
      ['websocket', 'websocket'],
      ['polling', 'polling'],
      ['websocket', 'polling'],
    ]) {
      it(`two tabs talk in a room: ${first} and ${second}`, async (t) => {
        const visitor = await browser.visitor(t);
        const complaints = complaintsOf(visitor);
        const room = `${first} & ${second} é😀`;
        const one = await visitor.newPage();
        const answer = await one.goto(`${gateway.url}/#room=${encodeURIComponent(room)}`);
        assert.equal(answer.status(), 200);
        assert.match(answer.headers()['content-security-policy'], /^default-src 'none';/);
        await connect(one, first);
        const [two] = await Promise.all([visitor.waitForEvent('page'), one.click('#second')]);
        await connect(two, second);
        for (const page of [one, two]) assert.equal(await page.textContent('#title'), room);

        await say(one, TEXT);
        await hears(two, TEXT);
        await say(two, 'and back');
        await hears(one, 'and back');
        await one.locator('#messages .mine:not(.waiting)').getByText(TEXT, { exact: true }).waitFor();
        assert.equal(await one.locator('#messages .bad').count(), 0);

        // Who left a room hears nothing from it, and may not write to it.
        await two.bringToFront();
        await two.click('#toggle');
        await two.locator('#membership', { hasText: 'You are not in this room' }).waitFor();
        await say(one, 'unheard');
        await one.locator('#messages .mine:not(.waiting)').getByText('unheard', { exact: true }).waitFor();
        await say(two, 'from outside');
        await two.locator('#messages .bad', { hasText: 'not allowed' }).waitFor();

        // A room of another name, joined in both tabs.
        for (const page of [one, two]) {
          await page.bringToFront();
          await page.fill('#room', `${room}, two`);
          await page.click('#join button');
          await page.locator('#membership', { hasText: 'You are in this room' }).waitFor();
        }
        await say(one, 'in the second room');
        await hears(two, 'in the second room');
        assert.equal(await two.getByText('unheard').count(), 0);
        assert.deepEqual(complaints, []);
      });
    }
  });
}

describe('where the demo page is served', () => {
  const cases = [
    ['while no namespace is configured', {}, 200],
    ['not with a namespace', { rest: '[[namespace]]\nname = "/"\n' }, 404],
    ['with a namespace, where it is wanted', { server: 'demo = true', rest: '[[namespace]]\nname = "/"\n' }, 200],
    ['not where it is not wanted', { server: 'demo = false' }, 404],
  ];
  for (const [name, configuration, status] of cases) {
    it(name, async (t) => {
      const gateway = await Gateway.start(configuration);
      t.after(() => gateway.stop());
      const answer = await fetch(gateway.url);
      await answer.text();
      assert.equal(answer.status, status);
    });
  }
});
