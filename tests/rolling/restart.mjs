/** Every gateway of a cluster replaced, one after the other, under load: what `rolling.test.mjs` and `soak.mjs` run. */

import { Redis } from '../cluster/redis.mjs';
import { startHaproxy, startNginx } from './balancers.mjs';
import { Crowd, spread } from './crowd.mjs';
import { Ledger } from './ledger.mjs';
import { ends, forwards, startNodes } from './nodes.mjs';
import { until } from './until.mjs';

/** Transports that work behind a balancer that is not sticky. */
export const transports = forwards() ? undefined : ['WebSocket only'];

/**
 * A cluster behind both balancers with a crowd on it, half behind each, in which publishers publish. `others`: nodes that
 * are not there yet, which HAProxy knows of.
 */
export async function start(t, { nodes: count = 3, members = 160, publishers = 8, interval = 125, drain, asksOften, others = [] } = {}) {
  const redis = await Redis.start(t);
  const nodes = await startNodes(t, redis, count, { drain });
  const balancers = [await startHaproxy(t, [...nodes, ...others], { asksOften }), await startNginx(t, nodes)];
  // It takes servers for running until it has asked them.
  for (const node of others) await until(`HAProxy sends nobody to ${node.name}`, async () => !(await balancers[0].isUp(node)));
  const urls = balancers.map(({ url }) => url);
  const ledger = new Ledger();
  const crowd = new Crowd(t, ledger);
  await crowd.gather(urls, members, { transports });
  await crowd.publish(urls, publishers, { interval, redis, transports });
  return { redis, nodes, balancers, urls, transports, crowd, ledger };
}

/** Has each node leave and come back, the next as soon as the balancer sends clients to it again; what `ends` says of each. */
export async function replaceAll({ nodes, balancers: [haproxy] }, { signal, patience } = {}) {
  const found = [];
  for (const node of nodes) {
    found.push(await ends(node, signal, patience));
    await node.launch();
    await until(`${haproxy.name} sends clients to ${node.name}`, () => haproxy.isUp(node));
  }
  return found;
}

/** Ends the publishing, waits until all is heard, prints what happened: `{complaints, failures, counts}`. */
export async function judge(t, { balancers, crowd, ledger }) {
  crowd.silence();
  await crowd.settled();
  const { complaints, ...counts } = ledger.verdict();
  const failures = [];
  for (const balancer of balancers) {
    const requests = await balancer.requests();
    failures.push(...requests.failures);
    t.diagnostic(`${balancer.name}: ${JSON.stringify(requests.counts)}`);
  }
  t.diagnostic(`clients were away ${spread(crowd.gaps)}; ${crowd.early} sessions were closed before they were used`);
  t.diagnostic(`messages: ${JSON.stringify(counts)}`);
  return { complaints: [...complaints, ...crowd.complaints].slice(0, 10), failures: [...failures, ...crowd.refusals].slice(0, 10), counts };
}
