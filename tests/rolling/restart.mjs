/** Every gateway of a cluster replaced, one after the other, under load: what `rolling.test.mjs` and `soak.mjs` run. */

import { Redis } from '../cluster/redis.mjs';
import { startHaproxy, startNginx } from './balancers.mjs';
import { Crowd } from './crowd.mjs';
import { Ledger } from './ledger.mjs';
import { ends, forwards, startNodes } from './nodes.mjs';
import { until } from './until.mjs';

/** Transports that work behind a balancer that is not sticky. */
export const transports = forwards() ? undefined : ['WebSocket only'];

/** A cluster behind both balancers with a crowd on it, half behind each, in which publishers publish. */
export async function start(t, { nodes: count = 3, members = 160, publishers = 8, interval = 125, drain, others = [] } = {}) {
  const redis = await Redis.start(t);
  const nodes = await startNodes(t, redis, count, { drain });
  const known = [...nodes, ...others];
  const balancers = [await startHaproxy(t, known), await startNginx(t, known)];
  const urls = balancers.map(({ url }) => url);
  const ledger = new Ledger();
  const crowd = new Crowd(t, ledger);
  await crowd.gather(urls, members, { transports });
  await crowd.publish(urls, publishers, { interval, redis, transports });
  return { redis, nodes, balancers, crowd, ledger };
}

/** Has each node leave and come back, the next as soon as the balancer sends clients to it again; `[{code, signal, took}]`. */
export async function replaceAll({ nodes, balancers: [haproxy] }, { signal, patience } = {}) {
  const found = [];
  for (const node of nodes) {
    found.push({ name: node.name, ...(await ends(node, signal, patience)) });
    await node.launch();
    await until(`${haproxy.name} sends clients to ${node.name}`, () => haproxy.isUp(node));
  }
  return found;
}
