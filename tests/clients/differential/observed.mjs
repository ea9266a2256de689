/**
 * The gateway as a target of cases: what it delivers is heard by an observer in the namespaces that broadcast.
 */

import WebSocket from 'ws';

import { Reader } from './packets.mjs';
import { HEARD } from './reference.mjs';
import { within } from '../wrap.mjs';

/** A client in every namespace that broadcasts. */
class Member {
  #look = () => {};

  static async join(port) {
    const member = new Member();
    member.reader = new Reader('4');
    member.socket = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket`);
    member.socket.on('message', (data, isBinary) => {
      member.reader.take(isBinary ? data : data.toString());
      member.#look();
    });
    await member.until('the session is open', () => member.reader.opened);
    for (const namespace of HEARD) {
      member.socket.send(`40${namespace},`);
      await member.until(`${namespace} is entered`, () => member.reader.entered(namespace));
    }
    return member;
  }

  until(what, condition) {
    const held = new Promise((resolve) => {
      this.#look = () => condition() && resolve();
      this.#look();
    });
    return within(held, () => what);
  }
}

export class Observed {
  #observer;
  #beacon;
  #count = 0;

  /** Everything that clients of a running gateway say from now on. */
  static async start(port) {
    const observed = new Observed();
    observed.port = port;
    observed.#observer = await Member.join(port);
    observed.#beacon = await Member.join(port);
    await observed.take();
    return observed;
  }

  /** What was delivered since the last call. All members hear the same order: what came before the beacon is complete. */
  async take() {
    const { reader } = this.#observer;
    const mark = `beacon ${(this.#count += 1)}`;
    for (const namespace of HEARD) this.#beacon.socket.send(`42${namespace},["${mark}"]`);
    const isBeacon = ({ data }) => data?.[0] === mark;
    await this.#observer.until(mark, () => reader.packets.filter(isBeacon).length === HEARD.length);
    const events = reader.packets.splice(0).filter((packet) => packet.kind === '2' && !isBeacon(packet));
    return events.map(({ namespace, data }) => [namespace, data]);
  }

  stop() {
    this.#observer.socket.terminate();
    this.#beacon.socket.terminate();
  }
}
