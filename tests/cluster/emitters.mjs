/**
 * The emitters that programs without a server use, over one interface: `emit(to, …args)`, and where there are such,
 * `act(method, to, …args)`.
 */

import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** What narrows an emitter down, as its own chain of calls. */
function narrowed(emitter, { namespace = '/', rooms = [], except = [], flags = {} }) {
  let target = namespace === '/' ? emitter : emitter.of(namespace);
  for (const room of rooms) target = target.to(room);
  if (except.length > 0) target = target.except(except);
  for (const flag of Object.keys(flags)) target = target[flag];
  return target;
}

/** The emitters there are: how each is made on a Redis, and what it has. */
export const EMITTERS = {
  '@socket.io/redis-emitter 5.1.0': {
    isModern: true,
    async make(t, redis) {
      const connection = require('redis').createClient({ url: redis.url });
      await connection.connect();
      t.after(() => connection.destroy());
      return new (require('emitter-5.1.0').Emitter)(connection);
    },
  },
  '@socket.io/redis-emitter 5.1.0, ioredis': {
    isModern: true,
    make: (t, redis) => new (require('emitter-5.1.0').Emitter)(redis.connect(t)),
  },
  'socket.io-emitter 3.2.0': { make: (t, redis) => withItsOwn(t, 'emitter-3.2.0', redis) },
  'socket.io-emitter 1.1.0': { make: (t, redis) => withItsOwn(t, 'emitter-1.1.0', redis) },
  'socket.io-emitter 0.1.0': { make: (t, redis) => withItsOwn(t, 'emitter-0.1.0', redis) },
};

/** The old ones bring a connection of their own. */
function withItsOwn(t, library, redis) {
  const emitter = require(library)({ host: '127.0.0.1', port: redis.port });
  t.after(() => emitter.redis.end(true));
  return emitter;
}

/** An emitter on a Redis, closed when the test ends. */
export async function makeEmitter(t, redis, name) {
  const emitter = await EMITTERS[name].make(t, redis);
  return {
    name,
    isModern: EMITTERS[name].isModern === true,
    emit: (to, ...args) => void narrowed(emitter, to).emit(...args),
    act: (method, to, ...args) => void narrowed(emitter, to)[method](...args),
  };
}
