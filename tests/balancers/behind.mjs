/** Three gateways on one Redis behind a balancer, and clients that come to it from addresses of their own. */

import { Agent } from 'node:http';
import { after, before } from 'node:test';

import { connect, fleet, GATEWAY } from '../cluster/fleet.mjs';
import { Balancer, VARIANTS } from './balancer.mjs';

/** What gateways have beside the defaults: a port for each other; members hear who comes and goes, and others may publish. */
const SETTINGS = { cluster: 'listen = "127.0.0.1:0"', rules: 'presence = true\nmembers_only = false' };

/** A cluster for all tests of a `describe`: `{redis, servers, balancer}`, filled once its tests run. */
export function behind(variant) {
  const cluster = fleet([GATEWAY, GATEWAY, GATEWAY], { ...SETTINGS, server: VARIANTS[variant].server });
  before(async () => {
    cluster.balancer = await Balancer.start(variant, cluster.servers);
  });
  after(() => cluster.balancer.stop());
  return cluster;
}

/** How many addresses were given out: each is of a network of its own, as balancers count them. */
let visitors = 0;

/**
 * A connected client behind the balancer, at an address of its own, which is all that the log says of it. Every other one
 * keeps its connections, as browsers do; the rest make a new one for each request, as these clients do in Node.
 */
export async function visit(t, balancer, { generation, ...kind }) {
  const number = (visitors += 1);
  const address = `127.${100 + Math.floor(number / 200)}.${number % 200}.7`;
  const agent = new Agent({ localAddress: address, keepAlive: number % 2 === 0 });
  const client = await connect(t, balancer, generation, { agent, ...kind });
  client.address = address;
  client.kind = { generation, ...kind };
  client.name = `visitor ${number}, ${generation}, ${kind.transport}`;
  return client;
}

/** Whether a client's requests come to one node by the balancer's own doing. */
export const sticks = (balancer, { kind }) =>
  balancer.sticky !== undefined && (balancer.sticky !== 'cookie' || kind.withCredentials === true);
