/**
 * Tokens as stock clients bring them: in `auth` or in the query; refused, refreshed, and at their end.
 */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, describe, it } from 'node:test';

import { MATRIX, isOld, open, start } from './clients.mjs';
import { Gateway } from './gateway.mjs';

const SECRET = 'a-secret-of-these-tests-0123456789-0123456789';

/** A token that is good for `seconds`, signed as any application can. */
function token(user, seconds = 60, roomcast = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const message = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user, exp, roomcast })}`;
  return `${message}.${createHmac('sha256', SECRET).update(message).digest('base64url')}`;
}

/** The options by which a client of this generation brings a token. */
const bringing = ({ generation }, text) => (isOld(generation) ? { query: { token: text } } : { auth: { token: text } });

describe('tokens', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({
      rest: `
[token]
secrets = ["${SECRET}"]
leeway = "0s"
[[namespace]]
name = "/"
auth = "token"
rooms = ["user:{user}"]
join = ["news"]
[[namespace]]
name = "/chat"
auth = "token"
`,
    });
  });
  after(() => gateway.stop());

  for (const kind of MATRIX) {
    describe(kind.name, () => {
      const client = (t, text, more = {}) => open(t, gateway.url, { ...kind, ...bringing(kind, text), ...more });

      it('who brings one is that user, and may do what it says', async (t) => {
        const alice = await client(t, token('alice', 60, { join: ['vip'], rooms: ['staff'] }));
        const { rooms } = await alice.done('join', ['news', 'vip']);
        assert.deepEqual(rooms, ['user:alice', 'staff', 'news', 'vip']);
        assert.equal((await alice.ask('join', 'other')).error, 'forbidden');
        const { members } = await alice.done('members', 'vip');
        assert.deepEqual(members.map(({ user }) => user), ['alice']);
      });

      it('who brings none, or a bad one, is refused and told so', async (t) => {
        for (const text of ['', 'a.b.c', token('alice', -60), `${token('alice')}x`]) {
          const refused = await start(t, gateway.url, { ...kind, ...bringing(kind, text) }).refused();
          assert.equal(isOld(kind.generation) ? refused : refused.message, 'unauthorized');
        }
        const elsewhere = token('alice', 60, { namespaces: ['/chat'] });
        const refused = await start(t, gateway.url, { ...kind, ...bringing(kind, elsewhere) }).refused();
        assert.equal(isOld(kind.generation) ? refused : refused.message, 'forbidden');
      });
    });
  }

  for (const kind of MATRIX.filter(({ generation }) => isOld(generation))) {
    it(`${kind.name}: a token in the address of the namespace counts`, async (t) => {
      const chat = await open(t, gateway.url, { ...kind, namespace: `/chat?token=${token('alice')}` });
      assert.equal((await chat.ask('join', 'x')).error, 'forbidden');
    });
  }

  it('at its end there is `expired`, and `refresh` goes on; for all kinds at once, as it takes its time', async (t) => {
    const lives = MATRIX.map(async (kind) => {
      const alice = await open(t, gateway.url, { ...kind, ...bringing(kind, token('alice', 3)) });
      alice.record('expired');
      assert.deepEqual(await alice.heard('expired'), [[{}]], kind.name);
      assert.equal((await alice.ask('join', 'news')).error, 'expired', kind.name);
      assert.equal((await alice.ask('refresh', token('bob'))).error, 'forbidden', kind.name);
      await alice.done('refresh', token('alice'));
      await alice.done('join', 'news');
    });
    await Promise.all(lives);
  });
});
