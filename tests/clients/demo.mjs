/**
 * What the tests of the demo page do with it: tabs, what is written in them, what is waited for.
 *
 * Must never wait for time, only for what the page shows.
 */

import { io } from 'client-4.8.4';

/** What the page says it runs on, by the choice in its menu; by itself it upgrades. */
const TRANSPORTS = { '': 'WebSocket', 'websocket': 'WebSocket', 'polling': 'HTTP long polling' };

/** A text that must stay a text. */
export const TEXT = 'hello é😀 <img src=x onerror="document.title=1"> & "quotes"';

/** Everything that the browser complains about on the pages of a visitor. */
export function complaintsOf(visitor) {
  const complaints = [];
  visitor.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  visitor.on('weberror', (error) => complaints.push(String(error.error())));
  return complaints;
}

export const isIn = (page) => page.locator('#membership', { hasText: 'You are in this room' }).waitFor();

/**
 * Has the page connect over this transport, and waits until it is in the room that it shows. What it does by itself is
 * let finish first, as browsers complain of a WebSocket that is closed while it connects.
 */
export async function connect(page, transport = '') {
  await page.locator('#upgrade', { hasText: /^Upgraded from HTTP long polling, in [\d.]+ ms$/ }).waitFor();
  if (transport) {
    await page.selectOption('#prefer', transport);
    await page.locator('#upgrade', { hasText: 'As chosen below' }).waitFor();
  }
  await page.locator('#transport').getByText(TRANSPORTS[transport], { exact: true }).waitFor();
  await isIn(page);
}

/** A tab that is connected, as another visitor's. */
export async function tab(t, browser, gateway, { name, room = 'lobby', ...options } = {}) {
  const visitor = await browser.chromium.newContext(options);
  t.after(() => visitor.close());
  const page = await visitor.newPage();
  await page.goto(`${gateway.url}/#room=${encodeURIComponent(room)}`);
  await connect(page);
  if (name) await rename(page, name);
  return page;
}

/** A stock client that ends with the test. */
export function client(t, url) {
  const socket = io(url, { transports: ['websocket'], forceNew: true });
  t.after(() => socket.close());
  return socket;
}

export async function rename(page, name) {
  await page.bringToFront();
  await page.fill('#name', name);
  await page.press('#name', 'Enter');
}

export async function say(page, text) {
  await page.bringToFront(); // a tab in the background is slow to click
  await page.fill('#text', text);
  await page.click('#say button');
}

export async function joins(page, room) {
  await page.bringToFront();
  await page.fill('#room', room);
  await page.click('#join button');
  await page.locator('#title').getByText(room, { exact: true }).waitFor();
  await isIn(page);
}

/** Waits for a message of another tab in the room that this tab shows. */
export const hears = (page, text) =>
  page.locator('#messages ol:visible li:not(.mine):not(.note):not(.empty)').getByText(text, { exact: true }).waitFor();

export const sent = (page, text) => page.locator('#messages .mine:not(.waiting)').getByText(text, { exact: true }).waitFor();

/** Waits until the tab lists exactly these others in the room that it shows. */
export async function sees(page, room, ...others) {
  await page.locator('#count').getByText(`${others.length + 1} in ${room}`, { exact: true }).waitFor();
  for (const name of others) await page.locator('#people span').getByText(name, { exact: true }).waitFor();
}
