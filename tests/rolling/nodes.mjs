/** Gateways of one cluster, each at an address of its own as on hosts of their own, that leave, die and come back. */

import { execFileSync } from 'node:child_process';

import { BINARY, Gateway } from '../clients/gateway.mjs';
import { within } from '../clients/wrap.mjs';
import { place } from './places.mjs';

/** The ports of every node: clients', admin's, and that of other gateways. */
export const PORTS = { clients: 3000, admin: 3001, peers: 3002 };

/** Drains in seconds: long enough for a balancer that looks four times a second. */
export const QUICK_DRAIN = { delay: '1s', spread: '3s', timeout: '8s' };

/** Who publishes need not be in the room; presence is for those who ask for it. */
const NAMESPACES = `
[[namespace]]
name = "/"
members_only = false
[[namespace]]
name = "/presence"
presence = true
`;

/** Whether a build passes on requests that are for its peers: builds that do not refuse the setting. */
export const forwards = (binary = BINARY) => /^listen = "0\.0\.0\.0:3002"/m.test(execFileSync(binary, ['config'], { encoding: 'utf8' }));

/**
 * Starts one; it ends with the test. `drain`: moments; `host` and `inside`: where it runs, if not at an address of its own;
 * `admin`, `cluster`: further lines of these sections.
 */
export async function startNode(t, redis, { name, drain = QUICK_DRAIN, host = place(), binary = BINARY, cluster = '', admin = '', inside } = {}) {
  const listen = forwards(binary) ? `listen = "${host}:${PORTS.peers}"` : '';
  const node = await Gateway.start({
    host,
    ports: [PORTS.clients, PORTS.admin],
    binary,
    inside,
    variables: {},
    admin,
    server: 'trusted_proxies = ["127.0.0.0/8"]',
    drain: Object.entries(drain).map(([key, value]) => `${key} = "${value}"`).join('\n'),
    rest: `[cluster]\nredis = "${redis.url}"\n${listen}\n${cluster}\n${NAMESPACES}`,
  });
  t.after(async () => {
    if (node.isRunning) node.signal('SIGKILL');
    await node.ended;
    // Above all where it took Redis for away: what it missed then is nobody's fault but the machine's.
    for (const line of node.log.split('\n').filter((text) => / (WARN|ERROR) /.test(text))) t.diagnostic(`${name}: ${line}`);
    await node.remove();
  });
  return Object.assign(node, { name, host });
}

/** So many nodes, one after the other. */
export async function startNodes(t, redis, count, options = {}) {
  const nodes = [];
  for (let index = 1; index <= count; index += 1) nodes.push(await startNode(t, redis, { name: `gateway-${index}`, ...options }));
  return nodes;
}

/** Has it end by a signal: `{name, code, signal, took, said}`: milliseconds, and what it logged of itself meanwhile. */
export async function ends(node, signal = 'SIGTERM', patience) {
  const asked = performance.now();
  const before = node.log.length;
  const said = () => node.log.slice(before).split('\n').filter((line) => line !== '' && !line.includes(' session: '));
  node.signal(signal);
  const { code, signal: killer } = await within(node.ended, () => `${node.name} ends\n${said().join('\n')}`, patience);
  return { name: node.name, code, signal: killer, took: performance.now() - asked, said: said() };
}

/** The value of a metric, over all its labels. */
export async function metric(node, name) {
  const answer = await fetch(`${node.adminUrl}/metrics`);
  const values = [...(await answer.text()).matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))];
  if (values.length === 0) throw new Error(`${node.name} has no ${name}`);
  return values.reduce((sum, [, value]) => sum + Number(value), 0);
}
