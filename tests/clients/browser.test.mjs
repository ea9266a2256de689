/**
 * The browser bundles of every generation in Chromium, on pages of another origin than the gateway's: XHR, JSONP,
 * WebSocket and the move between them.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { BUNDLED, Browser, PAGES_AT_ONCE, waysOf } from './browser.mjs';
import { open } from './clients.mjs';
import { Gateway } from './gateway.mjs';
import { VALUES, binaries } from './samples.mjs';
import { plain } from './wrap.mjs';

const RULES = `
[[namespace]]
name = "/"
[[namespace.event]]
name = "echo"
action = "ack"
[[namespace]]
name = "/chat"
`;

const values = Object.entries(VALUES).map(([name, value]) => [name, value]);
const bytes = Object.entries(binaries((array) => Buffer.from(array)));
const plainBytes = bytes.map(([name, args]) => [name, ...plain(args)]);
const NODE = { generation: '4.8.4', transport: 'WebSocket only' };

/** Engine.IO v3 and v4 clients of Node, to talk with a page. */
const OTHERS = [NODE, { generation: '2.5.0', transport: 'polling only' }];

/** The kinds of binary that the clients of a generation recognise: typed arrays only since 3. */
const binaryKinds = (generation) =>
  /^[12]\./.test(generation) ? ['ArrayBuffer', 'Blob'] : ['ArrayBuffer', 'Uint8Array', 'Blob'];

let browser;
before(async () => {
  browser = await Browser.start();
});
after(() => browser.stop());

describe('pages', { concurrency: PAGES_AT_ONCE }, () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({ rest: RULES });
  });
  after(() => gateway.stop());

  for (const generation of BUNDLED) {
    for (const way of waysOf(generation)) {
      describe(`${generation}, ${way}`, { concurrency: 1 }, () => {
        const kind = { generation, way };
        // Others are at work at the same time.
        const room = `${generation}, ${way}`;
        const kept = `${room}, kept`;

        it('connects, joins, publishes, hears, leaves', async (t) => {
          const page = await browser.openClient(t, gateway.url, kind);
          const { id, transport } = await page.connected();
          assert.equal(transport, way.endsWith('WebSocket') || way === 'WebSocket only' ? 'websocket' : 'polling');
          assert.ok(id.length >= 20, id);
          const client = (await open(t, gateway.url, NODE)).record('news');
          await page.record('news', 'end');
          const joined = await page.ask('join', [room, kept]);
          assert.deepEqual(joined, { ok: true, rooms: joined.rooms, socket: joined.socket });
          assert.deepEqual(joined.rooms.sort(), [kept, room].sort());
          await client.done('join', [room, kept]);

          assert.deepEqual(await page.ask('publish', room, 'news', 'from the page'), { ok: true });
          assert.deepEqual(await client.heard('news'), [['from the page']]);
          await client.done('publish', room, 'news', 'to the page', [1, { two: null }]);
          assert.deepEqual(await page.heard('news'), [['to the page', [1, { two: null }]]]);

          assert.deepEqual(await page.ask('leave', room), { ok: true, rooms: [kept] });
          await client.done('publish', room, 'news', 'after it left');
          await client.done('publish', kept, 'end');
          await page.heard('end');
          assert.equal((await page.all('news')).length, 1);
          assert.equal((await page.ask('publish', room, 'news')).error, 'forbidden');
        });

        it('every value arrives as it was sent, both ways', async (t) => {
          const page = await browser.openClient(t, gateway.url, kind);
          const clients = await Promise.all(OTHERS.map((other) => open(t, gateway.url, other)));
          await page.record('value');
          await page.done('join', room);
          for (const client of clients) await client.record('value').done('join', room);
          await page.publishValues(room);
          for (const client of clients) {
            const heard = await client.heard('value', values.length);
            values.forEach((expected, index) => assert.deepEqual(heard[index], expected, expected[0]));
          }
          for (const [name, value] of values) await clients[0].done('publish', room, 'value', name, value);
          const heard = await page.heard('value', values.length);
          values.forEach((expected, index) => assert.deepEqual(heard[index], expected, expected[0]));
        });

        it('binary arrives byte for byte, both ways and in acknowledgements', async (t) => {
          const page = await browser.openClient(t, gateway.url, kind);
          const clients = await Promise.all(OTHERS.map((other) => open(t, gateway.url, other)));
          await page.record('bytes');
          await page.done('join', room);
          for (const client of clients) await client.record('bytes').done('join', room);
          const kinds = binaryKinds(generation);
          for (const [round, made] of kinds.entries()) {
            await page.publishBinaries(room, made);
            for (const client of clients) {
              const heard = await client.heard('bytes', plainBytes.length * (round + 1));
              assert.deepEqual(heard.slice(-plainBytes.length), plainBytes, made);
            }
            assert.deepEqual(await page.echoBinaries('echo', made), plainBytes, made);
          }
          for (const [name, args] of bytes) await clients[0].done('publish', room, 'bytes', name, ...args);
          assert.deepEqual(await page.heard('bytes', plainBytes.length), plainBytes);
        });

        it('joins another namespace', async (t) => {
          const page = await browser.openClient(t, `${gateway.url}/chat`, kind);
          const client = await open(t, gateway.url, { ...NODE, namespace: '/chat' });
          await page.record('news');
          await page.done('join', room);
          await client.done('join', room);
          await client.done('publish', room, 'news', 'é😀');
          assert.deepEqual(await page.heard('news'), [['é😀']]);
        });
      });
    }
  }
});

describe('all pages and two generations of Node in one room', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({ rest: RULES });
  });
  after(() => gateway.stop());

  it('everybody hears everybody else once, in one order that all agree on', async (t) => {
    const pages = await browser.openAll(t, gateway.url);
    const clients = await Promise.all(
      ['1.7.4', '4.8.4'].map((generation) => open(t, gateway.url, { generation, transport: 'WebSocket only' })),
    );
    const witness = await open(t, gateway.url, NODE);
    const everybody = [...pages, ...clients];
    for (const member of [...everybody, witness]) {
      await member.record('hello');
      await member.done('join', 'room');
    }
    await Promise.all(everybody.map((member) => member.done('publish', 'room', 'hello', `${member.name} é😀`)));
    const order = (await witness.heard('hello', everybody.length)).map(([name]) => name);
    assert.deepEqual([...order].sort(), everybody.map(({ name }) => `${name} é😀`).sort());
    for (const member of everybody) {
      const heard = (await member.heard('hello', everybody.length - 1)).map(([name]) => name);
      assert.deepEqual(heard, order.filter((name) => name !== `${member.name} é😀`), member.name);
    }
  });
});

describe('a restart of the gateway', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start();
  });
  after(() => gateway.stop());

  it('pages come back by themselves', async (t) => {
    const again = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };
    const pages = await browser.openAll(t, gateway.url, again);
    await gateway.halt();
    for (const page of pages) {
      const reason = await page.disconnected();
      assert.ok(['transport close', 'transport error'].includes(reason), `${page.name}: ${reason}`);
    }
    await gateway.launch();
    for (const page of pages) {
      await page.connectedAgain(page.id);
      assert.deepEqual((await page.ask('join', 'room')).rooms, ['room'], page.name);
    }
  });
});
