/**
 * Chromium with the browser bundles of every client generation, on pages from an origin of their own.
 *
 * Must never let the browser reach anything but this machine.
 */

import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { chromium } from 'playwright-core';

const here = path.dirname(fileURLToPath(import.meta.url));

/** A name that is this machine for the browser, and a foreign site for the gateway. */
export const FOREIGN_HOST = 'foreign.test';

/** In place of a host: the page is a file on this machine, as in a mobile app's shell. */
export const FILE = Symbol('file');

/** Where each generation keeps its bundle. */
const BUNDLES = {
  '1.0.6': 'socket.io.js',
  '1.1.0': 'socket.io.js',
  '1.3.7': 'socket.io.js',
  '1.4.8': 'socket.io.js',
  '1.7.4': 'dist/socket.io.js',
  '2.0.4': 'dist/socket.io.js',
  '2.5.0': 'dist/socket.io.js',
  '3.1.3': 'dist/socket.io.js',
  '4.8.4': 'dist/socket.io.js',
};

/** Every generation of which a browser bundle is tested. */
export const BUNDLED = Object.keys(BUNDLES);

/** The client options for each way in which a page's session can be carried. */
export const PAGE_TRANSPORTS = {
  'polling only': { transports: ['polling'] },
  'WebSocket only': { transports: ['websocket'] },
  'polling, then WebSocket': { transports: ['polling', 'websocket'] },
  'JSONP': { transports: ['polling'], forceJSONP: true, jsonp: true },
};

/** The ways that a generation has: JSONP ended with 4.3. */
export const waysOf = (generation) =>
  Object.keys(PAGE_TRANSPORTS).filter((way) => way !== 'JSONP' || !generation.startsWith('4.'));

/** How many pages load or work at the same time: enough to keep two cores busy. */
export const PAGES_AT_ONCE = 3;

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  `--host-resolver-rules=MAP ${FOREIGN_HOST} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost`,
];

/** A page; `from` is where its scripts come from. */
const html = (generation, from = '') => `<!doctype html>
<meta charset="utf-8">
<title>socket.io-client ${generation}</title>
<script src="${from}/bundle/${generation}"></script>
<script type="module" src="${from}/page.mjs"></script>
`;

/** What the page server answers: content type and text, or nothing. */
async function content(url) {
  const [, kind, generation] = url.split('/');
  if (kind === 'client' && BUNDLES[generation]) return ['text/html', html(generation)];
  if (kind === 'bundle' && BUNDLES[generation]) {
    const file = path.join(here, 'node_modules', `client-${generation}`, BUNDLES[generation]);
    return ['text/javascript', await readFile(file, 'utf8')];
  }
  if (['page.mjs', 'wrap.mjs', 'samples.mjs'].includes(kind)) {
    return ['text/javascript', await readFile(path.join(here, kind), 'utf8')];
  }
  return undefined;
}

/** A page with one client in it; every function of page.mjs is a method here. */
class Page {
  constructor(page, generation) {
    this.inside = page;
    this.generation = generation;
    return new Proxy(this, {
      get: (target, name) => {
        // A page that looked like a promise would be awaited by whoever returns it.
        if (name in target || name === 'then' || typeof name === 'symbol') return target[name];
        return (...args) => page.evaluate(([method, given]) => window.page[method](...given), [name, args]);
      },
    });
  }
}

/** The browser and the server of its pages. */
export class Browser {
  static async start() {
    const browser = new Browser();
    browser.server = createServer((request, response) => {
      content(request.url).then(
        (found) => {
          response.writeHead(found ? 200 : 404, {
            'Content-Type': `${found?.[0] ?? 'text/plain'}; charset=utf-8`,
            // Pages from files may load the scripts too.
            'Access-Control-Allow-Origin': '*',
          });
          response.end(found?.[1]);
        },
        (error) => response.writeHead(500).end(error.message),
      );
    });
    browser.server.listen(0, '127.0.0.1');
    await once(browser.server, 'listening');
    browser.directory = await mkdtemp(path.join(tmpdir(), 'roomcast-pages-'));
    browser.chromium = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: FLAGS });
    return browser;
  }

  /** The port of the pages. */
  get port() {
    return this.server.address().port;
  }

  /** A page with the bundle of a generation, nothing started in it; closed when the test ends. */
  async page(t, generation, host = '127.0.0.1') {
    // Each page is its own visitor: no cookies, no connections shared with another test's page.
    const page = await (await this.visitor(t)).newPage();
    await page.goto(host === FILE ? await this.#file(generation) : `http://${host}:${this.port}/client/${generation}`);
    // Not by animation frames, which a page in the background has few of.
    await page.waitForFunction(() => window.page && window.io, undefined, { polling: 20 });
    return new Page(page, generation);
  }

  /** The address of a page that is a file. */
  async #file(generation) {
    const file = path.join(this.directory, `${generation}.html`);
    await writeFile(file, html(generation, `http://127.0.0.1:${this.port}`));
    return pathToFileURL(file).href;
  }

  /** A page whose client is on its way over one of the ways. */
  async startClient(t, url, { generation, way, host, ...more }) {
    const page = await this.page(t, generation, host);
    await page.start(url, { forceNew: true, reconnection: false, ...PAGE_TRANSPORTS[way], ...more });
    page.name = `page ${generation}, ${way}`;
    return page;
  }

  /** A page whose client is connected and has come to its last transport. */
  async openClient(t, url, kind) {
    const page = await this.startClient(t, url, kind);
    page.id = (await page.connected()).id;
    if (kind.way === 'polling, then WebSocket') await page.upgraded();
    return page;
  }

  /** One page of every kind whose client is connected. */
  async openAll(t, url, more = {}) {
    const kinds = BUNDLED.flatMap((generation) => waysOf(generation).map((way) => ({ generation, way, ...more })));
    const pages = [];
    while (pages.length < kinds.length) {
      const next = kinds.slice(pages.length, pages.length + PAGES_AT_ONCE);
      pages.push(...(await Promise.all(next.map((kind) => this.openClient(t, url, kind)))));
    }
    return pages;
  }

  /** A browser profile of its own, for the pages of one visitor; closed when the test ends. */
  async visitor(t) {
    const context = await this.chromium.newContext();
    t.after(() => context.close());
    return context;
  }

  async stop() {
    await this.chromium?.close();
    await rm(this.directory, { recursive: true, force: true });
    this.server.closeAllConnections();
    this.server.close();
  }
}
