/** Gateways on a test's Redis, configured so that clients have the same events as on `node-server-process.mjs`. */

import { Gateway } from '../clients/gateway.mjs';

/** Rules beside the built-in ones. */
const RULES = `
[[namespace.event]]
name = "all"
action = "broadcast"
[[namespace.event]]
name = "echo"
action = "ack"
`;

/** Starts one; it ends with the test. */
export async function startGateway(t, redis, { namespaces = ['/'], key = 'socket.io', cluster = '' } = {}) {
  const tables = namespaces.map((name) => `[[namespace]]\nname = ${JSON.stringify(name)}\n${RULES}`);
  const rest = `
[cluster]
redis = "${redis.url}"
prefix = "${key}"
listen = "127.0.0.1:0"
${cluster}
${tables.join('\n')}
`;
  const gateway = await Gateway.start({ rest });
  t.after(() => gateway.stop());
  await redis.joined(namespaces, key);
  return Object.assign(gateway, {
    name: 'gateway',
    isGateway: true,
    isModern: true,
    clients: ['1.7.4', '2.5.0', '4.8.4'],
  });
}
