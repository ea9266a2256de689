/**
 * An identity provider that replaces its keys while stock clients come all the time: no good token is ever refused.
 */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { isOld, start } from './clients.mjs';
import { Gateway } from './gateway.mjs';
import { Provider, makeCertificate } from './provider.mjs';
import { eventually } from './wrap.mjs';

/** One of each way in which clients bring a token. */
const KINDS = [
  { generation: '1.7.4', transport: 'polling only' },
  { generation: '2.5.0', transport: 'WebSocket only' },
  { generation: '4.8.4', transport: 'polling only' },
  { generation: '4.8.4', transport: 'WebSocket only' },
];

/** By itself again, soon. */
const COMES_BACK = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100, randomizationFactor: 0 };

/** A gateway that believes this set. */
async function startGateway(t, jwks, variables = {}) {
  const gateway = await Gateway.start({ rest: `[token]\njwks = ${JSON.stringify(jwks)}\n[[namespace]]\nname = "/"\nauth = "token"\n`, variables });
  t.after(() => gateway.stop());
  return gateway;
}

/** A client with this token; it is let in, however often it has to come, and never refused. Resolves to how often it came back. */
async function isLetIn(t, gateway, kind, token) {
  const brings = isOld(kind.generation) ? { query: { token } } : { auth: { token } };
  const client = start(t, gateway.url, { ...kind, ...brings, ...COMES_BACK });
  await client.connected();
  const comebacks = client.disconnects.length;
  client.close();
  return comebacks;
}

/** Clients of every kind, one after the other, with tokens of the newest key, until they are told to stop. */
function crowd(t, gateway, provider) {
  let goesOn = true;
  const lines = KINDS.map(async (kind) => {
    let count = 0;
    for (; goesOn; count += 1) await isLetIn(t, gateway, kind, provider.token('alice'));
    return count;
  });
  const all = Promise.all(lines);
  // What fails is told by whoever stops it; until then it must not count as unhandled.
  all.catch(() => (goesOn = false));
  const stop = () => {
    goesOn = false;
    return all;
  };
  t.after(stop);
  return stop;
}

/** Each kind of client has been let in with a token of the newest key. */
const allIn = (t, gateway, provider) => Promise.all(KINDS.map((kind) => isLetIn(t, gateway, kind, provider.token('bob'))));

describe('keys of an identity provider', { concurrency: 1 }, () => {
  it('a key that signs at once is known at once, while clients come all the time', async (t) => {
    const provider = await Provider.start();
    const gateway = await startGateway(t, await provider.serve(t));
    const stop = crowd(t, gateway, provider);
    await allIn(t, gateway, provider);
    const old = provider.token('carol');
    await provider.rotate();
    const comebacks = await allIn(t, gateway, provider);
    assert.deepEqual(comebacks, KINDS.map(() => 0), 'they waited for the set, and did not have to come back');
    await Promise.all(KINDS.map((kind) => isLetIn(t, gateway, kind, old)));
    assert.ok((await stop()).every((count) => count > 0));
    assert.equal(provider.asked, 2);
  });

  it('keys that are replaced faster than sets are read cost a reconnect, never a refusal', async (t) => {
    const provider = await Provider.start();
    const gateway = await startGateway(t, await provider.write(t));
    const stop = crowd(t, gateway, provider);
    for (let rotation = 0; rotation < 3; rotation += 1) {
      await allIn(t, gateway, provider);
      await provider.rotate();
    }
    await allIn(t, gateway, provider);
    await stop();
  });

  it('a key that is published while the set without it is on its way is no bad key', async (t) => {
    const provider = await Provider.start();
    const gateway = await startGateway(t, await provider.serve(t));
    await allIn(t, gateway, provider);
    let answer;
    provider.held = new Promise((resolve) => (answer = resolve));
    const client = (text) => start(t, gateway.url, { ...KINDS[3], auth: { token: text } });
    const forged = client(provider.forged('mallory'));
    await eventually('the set is asked for', () => provider.asked === 2);
    await provider.rotate();
    const alice = client(provider.token('alice'));
    await eventually('she is waiting', () => alice.socket.io.engine.readyState === 'open');
    answer();
    assert.equal((await forged.refused()).message, 'unauthorized');
    await alice.until('told', () => alice.disconnects.length + alice.errors.length > 0);
    assert.deepEqual([alice.disconnects, alice.errors], [['transport close'], []]);
  });

  it('a set by https, from an authority that the gateway is told to trust, and from one that it is not', async (t) => {
    const provider = await Provider.start();
    const { authority, certificate } = await makeCertificate(t);
    const place = await provider.serve(t, certificate);
    const trusting = await startGateway(t, place, { SSL_CERT_FILE: authority });
    await allIn(t, trusting, provider);
    await provider.rotate();
    await allIn(t, trusting, provider);
    const other = await startGateway(t, place);
    const client = start(t, other.url, { ...KINDS[3], auth: { token: provider.token('alice') } });
    assert.match(await client.disconnected(), /transport (close|error)/);
    assert.deepEqual(client.errors, [], 'no verdict is no refusal');
    assert.match(other.log, /is not trusted/);
    assert.equal(provider.asked, 2, 'what is not trusted is not asked');
  });
});
