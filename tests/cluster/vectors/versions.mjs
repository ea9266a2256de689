/**
 * How an adapter or an emitter of each version is made.
 */

const functions = (require, version, isHuge = false) => ({
  version,
  isHuge,
  isLite: /^[34]/.test(version),
  isModern: false,
  create(redis, namespace) {
    const Adapter = require(`adapter-${version}`)({ pubClient: redis, subClient: redis });
    const adapter = new Adapter(namespace);
    // The parsers of old take bytes out of the packet itself, in 0.1.4 before it is published.
    adapter.encoder = namespace.server.encoder;
    return adapter;
  },
});

const classes = (require, version, isHuge = false) => ({
  version,
  isHuge,
  isModern: true,
  create(redis, namespace) {
    const { createAdapter } = require(`adapter-${version}`);
    const options = { requestsTimeout: 50 };
    const Adapter = version.startsWith('6.')
      ? createAdapter({ pubClient: redis, subClient: redis, ...options })
      : createAdapter(redis, redis, options);
    return version.startsWith('6.') ? new Adapter(namespace) : Adapter(namespace);
  },
});

const emitter = (require, version, traits) => ({
  version,
  isOld: false,
  isModern: false,
  ...traits,
  create(redis) {
    const module = require(`emitter-${version}`);
    const { Emitter } = module;
    return Emitter ? new Emitter(redis) : module(redis);
  },
});

export default {
  adapters: (require) => [
    functions(require, '0.1.4', true),
    functions(require, '0.2.0'),
    functions(require, '1.0.0'),
    functions(require, '1.1.1'),
    functions(require, '2.0.1'),
    functions(require, '3.1.0', true),
    functions(require, '4.0.1'),
    functions(require, '5.4.0', true),
    classes(require, '6.1.1'),
    classes(require, '7.0.1'),
    classes(require, '7.2.0'),
    classes(require, '8.0.1'),
    classes(require, '8.3.0', true),
  ],
  emitters: (require) => [
    emitter(require, '0.1.0', { isOld: true }),
    emitter(require, '0.2.0', { isOld: true }),
    emitter(require, '1.1.0'),
    emitter(require, '2.0.0', { isLite: true }),
    emitter(require, '3.2.0'),
    emitter(require, '4.1.1', { isModern: true }),
    emitter(require, '5.1.0', { isModern: true }),
  ],
  requestChannel: (adapter, dialect) => (dialect === 'sync' ? adapter.syncChannel : adapter.requestChannel),
};
