/**
 * The demo page as the gateway serves it: tabs talk in rooms and in private, under the page's own policy.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';

import { Browser } from './browser.mjs';
import { TEXT, complaintsOf, connect, hears, joins, say, sees, sent, tab } from './demo.mjs';
import { Gateway } from './gateway.mjs';
import { within } from './wrap.mjs';

let browser;
before(async () => {
  browser = await Browser.start();
});
after(() => browser.stop());

for (const served of ['/socket.io/', '/live/']) {
  describe(`two tabs, Socket.IO at ${served}`, () => {
    let gateway;
    before(async () => {
      gateway = await Gateway.start({ server: `path = ${JSON.stringify(served)}` });
    });
    after(() => gateway.stop());

    const pairs = {
      '/socket.io/': [
        ['', ''],
        ['polling', 'polling'],
      ],
      '/live/': [['websocket', 'polling']],
    };
    for (const [first, second] of pairs[served]) {
      it(`they talk in a room: ${first || 'upgraded'} and ${second || 'upgraded'}`, async (t) => {
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
        await sent(one, TEXT);
        assert.equal(await one.locator('#messages .bad').count(), 0);

        // Who left a room hears nothing from it, and may not write to it.
        await two.bringToFront();
        await two.click('#toggle');
        await two.locator('#membership', { hasText: 'You are not in this room' }).waitFor();
        await say(one, 'unheard');
        await sent(one, 'unheard');
        await say(two, 'from outside');
        await two.locator('#messages .bad', { hasText: 'not allowed' }).waitFor();

        // A room of another name, joined in both tabs.
        for (const page of [one, two]) await joins(page, `${room}, two`);
        await say(one, 'in the second room');
        await hears(two, 'in the second room');
        assert.equal(await two.getByText('unheard').count(), 0);
        assert.deepEqual(complaints, []);
      });
    }

    it('the code on the page works as it is: it hears the page and is heard by it', async (t) => {
      const page = await tab(t, browser, gateway, { room: 'code "room"' });
      const code = await page.textContent('#code');
      assert.match(code, /from "socket\.io-client"/);
      const directory = await mkdtemp(path.join(tmpdir(), 'roomcast-code-'));
      t.after(() => rm(directory, { recursive: true }));
      const file = path.join(directory, 'talk.mjs');
      await writeFile(file, code.replace('"socket.io-client"', JSON.stringify(import.meta.resolve('client-4.8.4'))));
      const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
      t.after(() => child.kill());
      let output = '';
      const says = (text) =>
        within(
          new Promise((resolve) => {
            const look = (data) => {
              output += data ?? '';
              if (output.includes(text)) resolve();
            };
            child.stdout.on('data', look);
            look();
          }),
          () => `the code prints ${text}\n${output}`,
        );
      child.stdout.setEncoding('utf8');
      await says('ok: true');
      await hears(page, 'Hello from my code');
      await say(page, 'hello, code');
      await says('hello, code');
    });
  });
}

describe('private messages', () => {
  /** Opens the private talk with the one other member, and writes into it. */
  async function whisper(page, name, text) {
    await page.bringToFront();
    await page.getByRole('button', { name: `Message ${name} privately` }).click();
    await page.locator('#to').getByText(`Private message to ${name}`, { exact: true }).waitFor();
    await say(page, text);
  }

  it('are refused without any configuration, and allowed by the lines that the page then shows', async (t) => {
    const open = await Gateway.start();
    t.after(() => open.stop());
    const refused = await tab(t, browser, open, { name: 'Ann' });
    await tab(t, browser, open, { name: 'Bob' });
    await whisper(refused, 'Bob', 'psst');
    await refused.locator('#messages .mine .bad', { hasText: 'Not sent, not allowed' }).waitFor();
    const lines = await refused.locator('#messages pre').textContent();
    const [, server, rest] = /^\[server\]\n(.*?)\n\n(.*)$/s.exec(lines);

    const gateway = await Gateway.start({ server, rest: `${rest}\npresence = true\n` });
    t.after(() => gateway.stop());
    const one = await tab(t, browser, gateway, { name: 'Ann' });
    const two = await tab(t, browser, gateway, { name: 'Bob' });
    const three = await tab(t, browser, gateway, { name: 'Eve' });
    await sees(one, 'lobby', 'Bob', 'Eve');
    await whisper(one, 'Bob', TEXT);
    await sent(one, TEXT);
    await two.bringToFront();
    await two.getByRole('button', { name: 'Private messages with Ann, 1 unread' }).click();
    await hears(two, TEXT);
    await say(two, 'I know');
    await hears(one, 'I know');
    // What comes later came to the third tab as well, the private words did not.
    await one.getByRole('button', { name: 'Room lobby' }).click();
    await say(one, 'in public');
    await hears(three, 'in public');
    assert.equal(await three.getByText(TEXT).count(), 0);
    assert.equal(await three.getByRole('button', { name: 'Private messages with' }).count(), 0);
    // The gateway tells who goes, where it is configured to.
    await two.close();
    await one.locator('#log li', { hasText: /Server → you: presence.*"action":"leave"/ }).waitFor();
    await sees(one, 'lobby', 'Eve');
  });
});

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
      assert.equal(gateway.log.includes(`the demo page is at ${gateway.url}/\n`), status === 200);
    });
  }
});
