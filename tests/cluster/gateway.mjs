/** Gateways on a test's Redis, configured so that clients have the same events as on `node-server-process.mjs`. */

import { Gateway } from '../clients/gateway.mjs';
import { makeEmitter } from './emitters.mjs';

/** Rules beside the built-in ones. */
const RULES = `
[[namespace.event]]
name = "all"
action = "broadcast"
[[namespace.event]]
name = "echo"
action = "ack"
`;

/**
 * Starts one; it ends with the test. `server`, `cluster`: lines for these sections; `rules`: lines for each namespace;
 * `more`: whole sections and further namespaces. It runs nobody's code: what a test has it emit goes out by an emitter.
 */
export async function startGateway(t, redis, { namespaces = ['/'], key = 'socket.io', server = '', cluster = '', rules = '', more = '' } = {}) {
  const tables = namespaces.map((name) => `[[namespace]]\nname = ${JSON.stringify(name)}\n${rules}\n${RULES}`);
  const rest = `
[cluster]
redis = "${redis.url}"
prefix = "${key}"
${cluster}
${tables.join('\n')}
${more}
`;
  const gateway = await Gateway.start({ server, rest });
  t.after(() => gateway.stop());
  const emitter = key === 'socket.io' && (await makeEmitter(t, redis, '@socket.io/redis-emitter 5.1.0'));
  return Object.assign(gateway, {
    emit: async (to, ...args) => emitter.emit(to, ...args),
    name: 'gateway',
    isGateway: true,
    isModern: true,
    clients: ['1.7.4', '2.5.0', '4.8.4'],
  });
}
