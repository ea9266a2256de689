/**
 * Hosts with addresses of their own on one switch, whose traffic can be dropped as by a cable that is cut: nobody is told.
 *
 * Must only be used in a network of our own.
 */

import './own-network.mjs';

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlink } from 'node:fs/promises';

import { until } from './until.mjs';

/** Addresses for tests between networks (RFC 2544). */
const address = (number) => `198.18.0.${number}`;

/** Where the test itself is, and where its Redis is. */
export const HERE = address(1);
export const REDIS = address(2);

const ip = (words) => execFileSync('ip', words.split(' '));

/** Processes that hold networks. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

let isMade = false;
let hosts = 0;

/** The switch, with the test on it. */
function makeSwitch() {
  if (isMade) return;
  isMade = true;
  // With an address of its own: else it takes one of a host's, and another one when that host ends, unknown to the rest.
  ip('link add switch address 02:00:00:00:00:01 type bridge');
  for (const own of [HERE, REDIS]) ip(`address add ${own}/24 dev switch`);
  ip('link set switch up');
}

/** A host. */
export class Host {
  #network;
  #isCut = false;

  /** Makes one; it is gone when the test ends. */
  static async make(t) {
    makeSwitch();
    const host = new Host();
    hosts += 1;
    host.address = address(10 + hosts);
    const port = `port${hosts}`;
    // A network lives as long as a process in it.
    const holder = spawn('unshare', ['--net', 'sleep', '600'], { stdio: 'ignore' });
    running.add(holder);
    t.after(async () => {
      const ended = once(holder, 'close');
      holder.kill('SIGKILL');
      await ended;
      running.delete(holder);
    });
    host.#network = `/proc/${holder.pid}/ns/net`;
    const ours = await readlink('/proc/self/ns/net');
    await until('the host has a network', async () => (await readlink(host.#network)) !== ours);
    ip(`link add ${port} type veth peer name eth0 netns ${holder.pid}`);
    t.after(() => ip(`link delete ${port}`)); // the system would do so, some seconds later
    ip(`link set ${port} master switch up`);
    host.#run(['ip', 'link', 'set', 'lo', 'up']);
    host.#run(['ip', 'address', 'add', `${host.address}/24`, 'dev', 'eth0']);
    host.#run(['ip', 'link', 'set', 'eth0', 'up']);
    return host;
  }

  /** What runs a program on it. */
  get inside() {
    return ['nsenter', `--net=${this.#network}`];
  }

  #run(words, input) {
    const [program, ...rest] = [...this.inside, ...words];
    execFileSync(program, rest, { input });
  }

  /** Drops what matches, from now on: what comes in, what goes out. */
  cut({ input = [], output = [] }) {
    const chain = (hook, rules) => `chain ${hook} { type filter hook ${hook} priority 0; ${rules.map((rule) => `${rule} drop; `).join('')} }`;
    this.#isCut = true;
    this.#run(['nft', '-f', '-'], `table ip cut {\n${chain('input', input)}\n${chain('output', output)}\n}\n`);
  }

  /** Nothing to and from there any more. */
  cutFrom(other) {
    this.cut({ input: [`ip saddr ${other}`], output: [`ip daddr ${other}`] });
  }

  /** All is as it was. */
  heal() {
    if (this.#isCut) this.#run(['nft', 'delete', 'table', 'ip', 'cut']);
    this.#isCut = false;
  }
}
