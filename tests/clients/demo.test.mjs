/**
 * The demo page as the gateway serves it: all that it shows and lets do, under its own policy.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';

import { io } from 'client-4.8.4';

import { Browser } from './browser.mjs';
import { Gateway } from './gateway.mjs';
import { within } from './wrap.mjs';

/** What the page says it runs on, by the choice in its menu; by itself it upgrades. */
const TRANSPORTS = { '': 'WebSocket', 'websocket': 'WebSocket', 'polling': 'HTTP long polling' };

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

const isIn = (page) => page.locator('#membership', { hasText: 'You are in this room' }).waitFor();

/**
 * Has the page connect over this transport, and waits until it is in the room that it shows. What it does by itself is
 * let finish first, as browsers complain of a WebSocket that is closed while it connects.
 */
async function connect(page, transport = '') {
  await page.locator('#upgrade', { hasText: /^Upgraded from HTTP long polling, in [\d.]+ ms$/ }).waitFor();
  if (transport) {
    await page.selectOption('#prefer', transport);
    await page.locator('#upgrade', { hasText: 'As chosen below' }).waitFor();
  }
  await page.locator('#transport').getByText(TRANSPORTS[transport], { exact: true }).waitFor();
  await isIn(page);
}

/** A tab that is connected, as another visitor's. */
async function tab(t, gateway, { name, room = 'lobby', ...options } = {}) {
  const visitor = await browser.chromium.newContext(options);
  t.after(() => visitor.close());
  const page = await visitor.newPage();
  await page.goto(`${gateway.url}/#room=${encodeURIComponent(room)}`);
  await connect(page);
  if (name) await rename(page, name);
  return page;
}

/** A stock client that ends with the test. */
function client(t, url) {
  const socket = io(url, { transports: ['websocket'], forceNew: true });
  t.after(() => socket.close());
  return socket;
}

async function rename(page, name) {
  await page.bringToFront();
  await page.fill('#name', name);
  await page.press('#name', 'Enter');
}

async function say(page, text) {
  await page.bringToFront(); // a tab in the background is slow to click
  await page.fill('#text', text);
  await page.click('#say button');
}

async function joins(page, room) {
  await page.bringToFront();
  await page.fill('#room', room);
  await page.click('#join button');
  await page.locator('#title').getByText(room, { exact: true }).waitFor();
  await isIn(page);
}

/** Waits for a message of another tab in the room that this tab shows. */
const hears = (page, text) =>
  page.locator('#messages ol:visible li:not(.mine):not(.note):not(.empty)').getByText(text, { exact: true }).waitFor();

const sent = (page, text) => page.locator('#messages .mine:not(.waiting)').getByText(text, { exact: true }).waitFor();

/** Waits until the tab lists exactly these others in the room that it shows. */
async function sees(page, room, ...others) {
  await page.locator('#count').getByText(`${others.length + 1} in ${room}`, { exact: true }).waitFor();
  for (const name of others) await page.locator('#people span').getByText(name, { exact: true }).waitFor();
}

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
      const page = await tab(t, gateway, { room: 'code "room"' });
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

describe('what the page shows', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start();
  });
  after(() => gateway.stop());

  it('the connection: transport, the moment of the upgrade, protocol, round trip, id', async (t) => {
    const page = await tab(t, gateway);
    await page.locator('#trip', { hasText: /^\s*[\d.]+ ms/ }).waitFor();
    await page.locator('dd', { hasText: 'Socket.IO v5 on Engine.IO v4' }).waitFor();
    await page.locator('#heartbeat').getByText('Heartbeat every 25 s', { exact: true }).waitFor();
    assert.match(await page.textContent('#id'), /^[\w-]{20}$/);
    const log = page.locator('#log li:visible');
    await log.filter({ hasText: /Upgraded from HTTP long polling to WebSocket in [\d.]+ ms/ }).waitFor();
    assert.equal(await log.filter({ hasText: 'does WebSocket work?' }).count(), 0);
    await page.check('#all');
    await log.filter({ hasText: 'You → server: Upgrade: does WebSocket work?' }).waitFor();
    await log.filter({ hasText: 'You → server: Upgrade: go on here' }).waitFor();
  });

  it('the connection, where no WebSocket comes through', async (t) => {
    const visitor = await browser.visitor(t);
    await visitor.routeWebSocket(/./, (socket) => socket.close());
    const page = await visitor.newPage();
    await page.goto(gateway.url);
    await page.locator('#upgrade').getByText('No upgrade to be had', { exact: true }).waitFor();
    await isIn(page);
    assert.equal(await page.textContent('#transport'), 'HTTP long polling');
    await page.locator('#log li:visible', { hasText: 'this stays on HTTP long polling' }).waitFor();
  });

  it('the connection, where the gateway takes WebSocket alone', async (t) => {
    const own = await Gateway.start({ rest: '[engine]\ntransports = ["websocket"]\n' });
    t.after(() => own.stop());
    const page = await (await browser.visitor(t)).newPage();
    await page.goto(own.url);
    await isIn(page);
    assert.equal(await page.textContent('#transport'), 'WebSocket');
    await page.locator('#log li:visible', { hasText: 'trying WebSocket' }).waitFor();
  });

  it('what happened: direction, event, arguments, the answer and its time', async (t) => {
    const [one, two] = [await tab(t, gateway, { room: 'log', name: 'one' }), await tab(t, gateway, { room: 'log', name: 'two' })];
    await say(one, 'in the log');
    await hears(two, 'in the log');
    const published = /^You → server: publish.*"log", "message", \{"room":"log","from":"one",.*"text":"in the log"\}.*answered in [\d.]+ ms: \{"ok":true\}$/;
    await one.locator('#log li:visible', { hasText: published }).waitFor();
    await two.locator('#log li:visible', { hasText: /^Server → you: message.*"text":"in the log"\}$/ }).waitFor();
    await two.click('#toggle');
    await two.locator('#log li', { hasText: /^You → server: leave.*"log".*answered in [\d.]+ ms: \{"ok":true,"rooms":\[\]\}$/ }).waitFor();
    await say(two, 'refused');
    await two.locator('#log li:visible', { hasText: /publish.*refused after [\d.]+ ms: \{"ok":false,"error":"forbidden"/ }).waitFor();
    // What the page asks on its own is there for those who want everything.
    const question = one.locator('#log li', { hasText: 'You → server: members' }).first();
    await question.waitFor({ state: 'attached' });
    assert.equal(await question.isVisible(), false);
  });

  it('who is here, by the names they give themselves, as they come and go', async (t) => {
    const one = await tab(t, gateway, { room: 'people', name: 'Ann' });
    await sees(one, 'people');
    await one.locator('#people', { hasText: 'Nobody else yet' }).waitFor();
    await say(one, 'alone');
    await one.locator('#messages .mine', { hasText: 'Nobody else is here to hear it' }).waitFor();
    const two = await tab(t, gateway, { room: 'people', name: 'Bob' });
    await sees(one, 'people', 'Bob');
    await sees(two, 'people', 'Ann');
    const three = await tab(t, gateway, { room: 'people', name: TEXT.slice(0, 40) });
    for (const page of [one, two]) await page.locator('#people span').getByText(TEXT.slice(0, 40), { exact: true }).waitFor();
    await rename(two, 'Bobby');
    await sees(one, 'people', 'Bobby', TEXT.slice(0, 40));
    await two.click('#toggle');
    await two.locator('#people', { hasText: 'Only members see who is in a room' }).waitFor();
    await sees(one, 'people', TEXT.slice(0, 40));
    await three.close();
    await sees(one, 'people');
  });

  it('what strangers publish stays text, whatever its shape', async (t) => {
    const page = await tab(t, gateway, { room: 'odd', name: 'Ann' });
    const errors = [];
    page.on('pageerror', (error) => errors.push(error));
    const stranger = client(t, gateway.url);
    await stranger.emitWithAck('join', 'odd');
    const id = 'x'.repeat(20);
    for (const name of ['message', 'hello', 'bye', 'other', '__proto__']) {
      for (const data of [undefined, null, 7, 'word', [], [{}], {}, { room: {}, socket: [], from: {}, text: {} }, { room: 'odd', socket: id, from: { a: TEXT }, text: TEXT }, { to: id, socket: id, text: 1 }]) {
        const args = data === undefined ? [] : [data, Buffer.from('bytes')].slice(0, name === 'other' ? 2 : 1);
        assert.deepEqual(await stranger.emitWithAck('publish', 'odd', name, ...args), { ok: true });
      }
    }
    await stranger.emitWithAck('publish', 'odd', 'message', 'the last');
    await hears(page, 'the last');
    await hears(page, TEXT);
    await page.locator('#log li', { hasText: 'Bytes of a binary event' }).first().waitFor();
    assert.deepEqual(errors, []);
  });

  it('rooms: joined and left by their chips, with what is unread', async (t) => {
    const one = await tab(t, gateway, { room: 'first' });
    const two = await tab(t, gateway, { room: 'first' });
    await joins(one, 'second');
    await one.locator('#in').getByText('first, second', { exact: true }).waitFor();
    await say(two, 'while you look elsewhere');
    await one.getByRole('button', { name: 'Room first, 1 unread' }).click();
    await hears(one, 'while you look elsewhere');
    await one.getByRole('button', { name: 'Leave second' }).click();
    await one.locator('#in').getByText('first', { exact: true }).waitFor();
    await one.getByRole('button', { name: 'Join second' }).click();
    await one.locator('#in').getByText('first, second', { exact: true }).waitFor();
    assert.equal(await one.textContent('#title'), 'first');
  });

  it('a connection that is lost comes back with its rooms, and what was typed is kept', async (t) => {
    const own = await Gateway.start();
    t.after(() => own.stop());
    const one = await tab(t, own, { room: 'back', name: 'one' });
    const two = await tab(t, own, { room: 'back', name: 'two' });
    await own.halt();
    for (const page of [one, two]) {
      await page.locator('#messages li', { hasText: 'Not connected since' }).waitFor();
      await page.locator('#membership', { hasText: 'Joined as soon as there is a connection' }).waitFor();
    }
    await say(one, 'kept');
    await one.locator('#notice', { hasText: 'your message stays in the box' }).waitFor();
    await own.launch();
    for (const page of [one, two]) await connect(page);
    await sees(one, 'back', 'two');
    assert.equal(await one.inputValue('#text'), 'kept');
    await say(one, 'kept');
    await hears(two, 'kept');
  });

  it('disconnects and connects when it is told to', async (t) => {
    const one = await tab(t, gateway, { room: 'power', name: 'one' });
    const two = await tab(t, gateway, { room: 'power', name: 'two' });
    await sees(one, 'power', 'two');
    await two.getByRole('button', { name: 'Disconnect' }).click();
    await two.locator('#status.stopped').getByText('Disconnected').waitFor();
    await sees(one, 'power');
    await two.getByRole('button', { name: 'Connect', exact: true }).click();
    await connect(two);
    await sees(one, 'power', 'two');
  });
});

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
    const refused = await tab(t, open, { name: 'Ann' });
    await tab(t, open, { name: 'Bob' });
    await whisper(refused, 'Bob', 'psst');
    await refused.locator('#messages .mine .bad', { hasText: 'Not sent, not allowed' }).waitFor();
    const lines = await refused.locator('#messages pre').textContent();
    const [, server, rest] = /^\[server\]\n(.*?)\n\n(.*)$/s.exec(lines);

    const gateway = await Gateway.start({ server, rest: `${rest}\npresence = true\n` });
    t.after(() => gateway.stop());
    const one = await tab(t, gateway, { name: 'Ann' });
    const two = await tab(t, gateway, { name: 'Bob' });
    const three = await tab(t, gateway, { name: 'Eve' });
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

describe('for everybody', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start();
  });
  after(() => gateway.stop());

  /** Brings a page to many states at once: a room left, a refusal, messages of two, a private talk, everything logged. */
  async function busy(t, options) {
    const room = `busy ${'long '.repeat(40)}`;
    const page = await tab(t, gateway, { room, name: 'x'.repeat(40), ...options });
    const other = await tab(t, gateway, { room, name: 'other' });
    await say(other, `${'w'.repeat(300)} ${TEXT}`);
    await hears(page, `${'w'.repeat(300)} ${TEXT}`);
    await joins(page, 'left');
    await page.click('#toggle');
    await page.locator('#membership', { hasText: 'You are not in this room' }).waitFor();
    await say(page, 'refused');
    await page.locator('#messages .bad').waitFor();
    await page.getByRole('button', { name: /^Room busy/ }).click();
    await page.getByRole('button', { name: 'Message other privately' }).click();
    await say(page, 'private');
    await page.locator('#messages pre').waitFor();
    await page.check('#all');
    return page;
  }

  for (const colorScheme of ['light', 'dark']) {
    it(`text is readable: ${colorScheme}`, async (t) => {
      const page = await busy(t, { colorScheme });
      assert.deepEqual(await page.evaluate(faintTexts), []);
    });
  }

  it('a telephone needs no scrolling sideways', async (t) => {
    const page = await busy(t, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    const small = await page.evaluate(() =>
      [...document.querySelectorAll('button, a, select, input:not([type=checkbox])')]
        .filter((element) => element.offsetParent && element.offsetHeight < 38)
        .map((element) => element.outerHTML),
    );
    assert.deepEqual(small, []);
  });

  it('the keyboard reaches everything, and shows where it is', async (t) => {
    const page = await busy(t, {});
    const wanted = await page.evaluate(
      () => [...document.querySelectorAll('button, a, input, select, [tabindex]')].filter((it) => it.offsetParent).length,
    );
    const reached = new Set();
    // The way begins wherever the focus was, and leads through the browser itself once.
    for (let step = 0; step < 2 * wanted + 4 && reached.size < wanted; step += 1) {
      await page.keyboard.press('Tab');
      const it = await page.evaluate(() => {
        const it = document.activeElement;
        const label = it.ariaLabel || it.labels?.[0]?.textContent || it.textContent;
        const index = [...document.querySelectorAll('*')].indexOf(it);
        return it !== document.body && { index, label, outline: getComputedStyle(it).outlineStyle };
      });
      if (!it) continue;
      assert.notEqual(it.label.trim(), '', `the element ${it.index} has no name`);
      assert.equal(it.outline, 'solid', it.label);
      reached.add(it.index);
    }
    assert.equal(reached.size, wanted);
  });

  it('a list that is drawn anew leaves the focus where it was', async (t) => {
    const one = await tab(t, gateway, { room: 'focus', name: 'one' });
    const two = await tab(t, gateway, { room: 'focus', name: 'two' });
    await sees(one, 'focus', 'two');
    await one.getByRole('button', { name: 'Message two privately' }).focus();
    await say(two, 'hello');
    await hears(one, 'hello');
    assert.equal(await one.evaluate(() => document.activeElement.ariaLabel), 'Message two privately');
  });
});

/** Runs in the page: visible texts with less contrast to what is behind them than WCAG's AA asks of small text. */
function faintTexts() {
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const light = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((it) => (it / 255 <= 0.04045 ? it / 255 / 12.92 : ((it / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let it = element; it; it = it.parentElement) {
      const color = channels(getComputedStyle(it).backgroundColor);
      if ((color[3] ?? 1) === 1) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.body.querySelectorAll('*')) {
    const says = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!says || !element.offsetParent || element.closest('script')) continue;
    const [a, b] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(2)}: ${element.outerHTML.slice(0, 200)}`);
  }
  return faint;
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
      assert.equal(gateway.log.includes(`the demo page is at ${gateway.url}/\n`), status === 200);
    });
  }
});
