/**
 * What stock clients meet on the HTTP side: compressed answers, the sticky cookie, other paths, fewer transports.
 */

import assert from 'node:assert/strict';
import { get } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';

import { GENERATIONS, MATRIX, isOld, open, start } from './clients.mjs';
import { Gateway } from './gateway.mjs';
import { within } from './wrap.mjs';

const LARGE = 'compress me 😀 '.repeat(2_000);

/** One GET with the headers as they are given; resolves to status, headers and the body's bytes. */
function fetchRaw(url, headers) {
  const answer = new Promise((resolve, reject) => {
    get(url, { headers }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) });
      });
      response.on('error', reject);
    }).on('error', reject);
  });
  return within(answer, () => `an answer to GET ${url}`);
}

describe('compression of polling answers', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({ rest: '[engine]\nhttp_compression = true\n' });
  });
  after(() => gateway.stop());

  for (const kind of MATRIX) {
    it(`${kind.name}: large messages arrive`, async (t) => {
      const client = (await open(t, gateway.url, kind)).record('large', 'bytes');
      const publisher = await open(t, gateway.url, { generation: '4.8.4', transport: 'WebSocket only' });
      await client.done('join', 'room');
      await publisher.done('join', 'room');
      await publisher.done('publish', 'room', 'large', LARGE);
      await publisher.done('publish', 'room', 'bytes', Buffer.alloc(5_000, 7));
      assert.deepEqual(await client.heard('large'), [[LARGE]]);
      assert.deepEqual(await client.heard('bytes'), [[{ bytes: Array(5_000).fill(7) }]]);
    });
  }

  it('who accepts gzip gets it, who does not gets plain text', async (t) => {
    const url = `${gateway.url}/socket.io/?EIO=4&transport=polling`;
    const opened = await fetchRaw(url, {});
    const { sid } = JSON.parse(opened.body.toString().slice(1));
    const post = async (body) => {
      const answer = await fetch(`${url}&sid=${sid}`, { method: 'POST', body });
      assert.equal(answer.status, 200);
      await answer.text();
    };
    await post('40');
    await fetchRaw(`${url}&sid=${sid}`, {});
    await post('420["join","room"]');
    assert.match((await fetchRaw(`${url}&sid=${sid}`, {})).body.toString(), /^430\[\{"ok":true/);

    const publisher = await open(t, gateway.url, { generation: '4.8.4', transport: 'WebSocket only' });
    await publisher.done('join', 'room');
    await publisher.done('publish', 'room', 'large', LARGE);
    const large = await fetchRaw(`${url}&sid=${sid}`, { 'Accept-Encoding': 'gzip, deflate' });
    assert.equal(large.headers['content-encoding'], 'gzip');
    assert.equal(gunzipSync(large.body).toString(), `42["large",${JSON.stringify(LARGE)}]`);
    assert.ok(large.body.length < LARGE.length);

    await publisher.done('publish', 'room', 'large', LARGE);
    const plainly = await fetchRaw(`${url}&sid=${sid}`, {});
    assert.equal(plainly.headers['content-encoding'], undefined);
    assert.equal(plainly.body.toString(), `42["large",${JSON.stringify(LARGE)}]`);
    await post('1');
  });
});

describe('the sticky cookie', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({ rest: '[engine]\ncookie = "stick"\n' });
  });
  after(() => gateway.stop());

  for (const protocol of [3, 4]) {
    it(`is set on a handshake of Engine.IO ${protocol}, and holds the session`, async () => {
      const opened = await fetchRaw(`${gateway.url}/socket.io/?EIO=${protocol}&transport=polling&b64=1`, {});
      const body = opened.body.toString();
      const { sid } = JSON.parse(body.slice(body.indexOf('{'), body.indexOf('}') + 1));
      const [cookie, ...attributes] = opened.headers['set-cookie'][0].split('; ');
      assert.equal(opened.headers['set-cookie'].length, 1);
      assert.equal(cookie, `stick=${sid}`);
      assert.deepEqual(attributes.sort(), ['HttpOnly', 'Path=/', 'SameSite=Lax']);
      const left = await fetch(`${gateway.url}/socket.io/?EIO=${protocol}&transport=polling&sid=${sid}`, {
        method: 'POST',
        body: protocol === 3 ? '1:1' : '1',
      });
      assert.equal(left.status, 200);
      await left.text();
    });
  }

  for (const kind of MATRIX) {
    it(`${kind.name}: does not mind it`, async (t) => {
      const client = await open(t, gateway.url, kind);
      await client.done('join', 'room');
    });
  }
});

describe('a path of its own', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({ server: 'path = "/live/"' });
  });
  after(() => gateway.stop());

  for (const kind of MATRIX) {
    it(`${kind.name}: connects to it`, async (t) => {
      const client = await open(t, gateway.url, { ...kind, path: '/live' });
      await client.done('join', 'room');
    });
  }
});

describe('a gateway for WebSocket alone', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({ rest: '[engine]\ntransports = ["websocket"]\n' });
  });
  after(() => gateway.stop());

  for (const generation of GENERATIONS) {
    it(`${generation}: connects by WebSocket, is refused on polling`, async (t) => {
      await open(t, gateway.url, { generation, transport: 'WebSocket only' });
      await start(t, gateway.url, { generation, transport: 'polling only' }).refused();
    });
  }
});

describe('a gateway for polling alone', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({ rest: '[engine]\ntransports = ["polling"]\n' });
  });
  after(() => gateway.stop());

  for (const generation of GENERATIONS) {
    it(`${generation}: stays on polling, is refused on WebSocket`, async (t) => {
      const client = start(t, gateway.url, { generation, transport: 'polling, then WebSocket' });
      await client.connected();
      await client.done('join', 'room');
      assert.equal(client.transport, 'polling');
      await start(t, gateway.url, { generation, transport: 'WebSocket only' }).refused();
    });
  }
});

describe('a gateway for the new generations alone', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({ rest: '[engine]\neio3 = false\n' });
  });
  after(() => gateway.stop());

  for (const kind of MATRIX) {
    it(`${kind.name}: is ${isOld(kind.generation) ? 'refused' : 'served'}`, async (t) => {
      if (isOld(kind.generation)) await start(t, gateway.url, kind).refused();
      else await open(t, gateway.url, kind);
    });
  }
});
