/**
 * Heartbeats: who answers them stays, who does not is closed.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { MATRIX, isOld, open } from './clients.mjs';
import { Gateway } from './gateway.mjs';

/** Heartbeats that a client lives through: more than fit into interval and timeout. */
const ENOUGH = 10;

/** Makes a client deaf and dumb to heartbeats without touching its connection. */
function silence(client, generation) {
  const { engine } = client.socket.io;
  if (isOld(generation)) {
    // Generations 1 and 2 send the pings, the next one as soon as a pong comes.
    engine.removeAllListeners('heartbeat');
    engine.setPing = engine.ping = () => {};
    clearTimeout(engine.pingIntervalTimer);
    clearTimeout(engine.pingTimeoutTimer);
    return;
  }
  // It must not time out by itself: with us that would be a race.
  engine.resetPingTimeout = engine._resetPingTimeout = () => {};
  engine._pingTimeoutTime = Infinity;
  clearTimeout(engine.pingTimeoutTimer);
  clearTimeout(engine._pingTimeoutTimer);
  const method = engine._sendPacket ? '_sendPacket' : 'sendPacket';
  const send = engine[method];
  engine[method] = function (type, ...rest) {
    return type === 'pong' ? undefined : send.call(this, type, ...rest);
  };
}

// All at once, because they mostly wait.
describe('heartbeats', { concurrency: 2 * MATRIX.length }, () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({ rest: '[engine]\nping_interval = "300ms"\nping_timeout = "2s"\n' });
  });
  after(() => gateway.stop());

  for (const kind of MATRIX) {
    it(`${kind.name}: who answers stays`, async (t) => {
      const client = await open(t, gateway.url, kind);
      let beats = 0;
      client.socket.io.engine.on('packet', ({ type }) => {
        if (type === 'ping' || type === 'pong') beats += 1;
        client.changed();
      });
      await client.until(`${ENOUGH} heartbeats`, () => beats >= ENOUGH || client.disconnects.length > 0);
      assert.deepEqual(client.disconnects, []);
      assert.deepEqual((await client.done('join', 'room')).rooms, ['room']);
    });

    it(`${kind.name}: who does not answer is closed`, async (t) => {
      const client = await open(t, gateway.url, kind);
      silence(client, kind.generation);
      const reason = await client.disconnected();
      assert.ok(['transport close', 'transport error'].includes(reason), reason);
    });
  }
});
