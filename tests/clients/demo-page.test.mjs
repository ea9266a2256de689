/**
 * What the demo page shows, in every state, and to everybody: on telephones, by keyboard, in light and dark.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { Browser } from './browser.mjs';
import { TEXT, client, connect, hears, isIn, joins, rename, say, sees, tab } from './demo.mjs';
import { Gateway } from './gateway.mjs';

let browser;
before(async () => {
  browser = await Browser.start();
});
after(() => browser.stop());

describe('what the page shows', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start();
  });
  after(() => gateway.stop());

  it('the connection: transport, the moment of the upgrade, protocol, round trip, id', async (t) => {
    const page = await tab(t, browser, gateway);
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
    const one = await tab(t, browser, gateway, { room: 'log', name: 'one' });
    const two = await tab(t, browser, gateway, { room: 'log', name: 'two' });
    await say(one, 'in the log');
    await hears(two, 'in the log');
    const entry = (page, text) => page.locator('#log li:visible', { hasText: text });
    await entry(one, /^You → server: publish/)
      .filter({ hasText: '"log", "message", {"room":"log","from":"one",' })
      .filter({ hasText: /"text":"in the log"\}.*answered in [\d.]+ ms: \{"ok":true\}$/ })
      .waitFor();
    await entry(two, /^Server → you: message.*"text":"in the log"\}$/).waitFor();
    await two.click('#toggle');
    await entry(two, /^You → server: leave.*"log".*answered in [\d.]+ ms: \{"ok":true,"rooms":\[\]\}$/).waitFor();
    await say(two, 'refused');
    await entry(two, /publish.*refused after [\d.]+ ms: \{"ok":false,"error":"forbidden"/).waitFor();
    // What the page asks on its own is there for those who want everything.
    const question = one.locator('#log li', { hasText: 'You → server: members' }).first();
    await question.waitFor({ state: 'attached' });
    assert.equal(await question.isVisible(), false);
  });

  it('who is here, by the names they give themselves, as they come and go', async (t) => {
    const one = await tab(t, browser, gateway, { room: 'people', name: 'Ann' });
    await sees(one, 'people');
    await one.locator('#people', { hasText: 'Nobody else yet' }).waitFor();
    await say(one, 'alone');
    await one.locator('#messages .mine', { hasText: 'Nobody else is here to hear it' }).waitFor();
    const two = await tab(t, browser, gateway, { room: 'people', name: 'Bob' });
    await sees(one, 'people', 'Bob');
    await sees(two, 'people', 'Ann');
    const three = await tab(t, browser, gateway, { room: 'people', name: TEXT.slice(0, 40) });
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
    const page = await tab(t, browser, gateway, { room: 'odd', name: 'Ann' });
    const errors = [];
    page.on('pageerror', (error) => errors.push(error));
    const stranger = client(t, gateway.url);
    await stranger.emitWithAck('join', 'odd');
    const id = 'x'.repeat(20);
    for (const name of ['message', 'hello', 'bye', 'other', '__proto__']) {
      const objects = [
        { room: {}, socket: [], from: {}, text: {} },
        { room: 'odd', socket: id, from: { a: TEXT }, text: TEXT },
        { to: id, socket: id, text: 1 },
      ];
      for (const data of [undefined, null, 7, 'word', [], [{}], {}, ...objects]) {
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
    const one = await tab(t, browser, gateway, { room: 'first' });
    const two = await tab(t, browser, gateway, { room: 'first' });
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
    const one = await tab(t, browser, own, { room: 'back', name: 'one' });
    const two = await tab(t, browser, own, { room: 'back', name: 'two' });
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
    const one = await tab(t, browser, gateway, { room: 'power', name: 'one' });
    const two = await tab(t, browser, gateway, { room: 'power', name: 'two' });
    await sees(one, 'power', 'two');
    await two.getByRole('button', { name: 'Disconnect' }).click();
    await two.locator('#status.stopped').getByText('Disconnected').waitFor();
    await sees(one, 'power');
    await two.getByRole('button', { name: 'Connect', exact: true }).click();
    await connect(two);
    await sees(one, 'power', 'two');
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
    const page = await tab(t, browser, gateway, { room, name: 'x'.repeat(40), ...options });
    const other = await tab(t, browser, gateway, { room, name: 'other' });
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
    const one = await tab(t, browser, gateway, { room: 'focus', name: 'one' });
    const two = await tab(t, browser, gateway, { room: 'focus', name: 'two' });
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
    const linear = (it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = [red, green, blue].map((it) => linear(it / 255));
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
