/**
 * A gateway that goes away closes sessions in the way that makes stock clients come back by themselves.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { MATRIX, open } from './clients.mjs';
import { Gateway } from './gateway.mjs';

const QUICKLY = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200, randomizationFactor: 0.1 };

describe('a restart of the gateway', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({ rest: '[[namespace]]\nname = "/"\n[[namespace]]\nname = "/chat"\n' });
  });
  after(() => gateway.stop());

  it('closes the sessions without a word on the Socket.IO level, and every client comes back by itself', async (t) => {
    const clients = await Promise.all(
      MATRIX.flatMap((kind) => [
        open(t, gateway.url, { ...kind, ...QUICKLY }),
        open(t, gateway.url, { ...kind, ...QUICKLY, namespace: '/chat' }),
      ]),
    );
    const before = clients.map(({ id }) => id);
    await Promise.all(clients.map((client) => client.record('news').done('join', 'room')));
    await gateway.halt();
    for (const client of clients) {
      const reason = await client.disconnected();
      // "io server disconnect" would mean that the client stays away.
      assert.ok(['transport close', 'transport error'].includes(reason), `${client.name}: ${reason}`);
    }
    await gateway.launch();
    for (const [index, client] of clients.entries()) {
      await client.until('connected again', () => client.socket.connected && client.id);
      assert.notEqual(client.id, before[index], `${client.name} is a new socket`);
    }
    await Promise.all(clients.map((client) => client.done('join', 'room')));
    await clients[0].done('publish', 'room', 'news', 'root');
    await clients[1].done('publish', 'room', 'news', 'chat');
    for (const [index, client] of clients.entries()) {
      if (index < 2) continue;
      assert.deepEqual(await client.heard('news'), [[index % 2 === 0 ? 'root' : 'chat']], client.name);
    }
  });

  for (const kind of MATRIX) {
    it(`${kind.name}: a client whose session breaks comes back by itself`, async (t) => {
      const client = await open(t, gateway.url, { ...kind, ...QUICKLY });
      const first = client.id;
      client.socket.io.engine.close();
      await client.disconnected();
      await client.until('connected again', () => client.socket.connected && client.id && client.id !== first);
      assert.deepEqual((await client.done('join', 'room')).rooms, ['room']);
    });

    it(`${kind.name}: a client that left can connect again`, async (t) => {
      const client = await open(t, gateway.url, kind);
      const { engine } = client.socket.io;
      engine.on('close', () => client.changed());
      client.socket.disconnect();
      assert.equal(await client.disconnected(), 'io client disconnect');
      // Generation 1 confuses its old session with the new one when it is in a greater hurry.
      await client.until('the old session is closed', () => engine.readyState === 'closed');
      client.socket.connect();
      await client.until('connected again', () => client.socket.connected && client.id);
      assert.deepEqual((await client.done('join', 'room')).rooms, ['room']);
    });
  }
});

describe('a stop of the gateway', () => {
  it('is a clean one when a polling client left a moment ago', async () => {
    const gateway = await Gateway.start();
    const url = `${gateway.url}/socket.io/?EIO=4&transport=polling`;
    const opened = await (await fetch(url)).text();
    const { sid } = JSON.parse(opened.slice(1));
    const answer = await fetch(`${url}&sid=${sid}`, { method: 'POST', body: '1' });
    assert.equal(await answer.text(), 'ok');
    // The gateway keeps an answer for a poll that may be under way; that is no connection to wait for.
    await gateway.stop();
  });
});
