/** An Engine.IO session by hand, whose requests can be sent to any gateway. */

import { once } from 'node:events';
import { request } from 'node:http';

import { within } from '../clients/wrap.mjs';

/** One polling session of generation 4. */
export class Polling {
  /** Opens one on a gateway. */
  static async open(url) {
    const session = new Polling();
    const { status, body } = await session.#ask(url, '');
    if (status !== 200) throw new Error(`no session: ${status} ${body}`);
    session.sid = JSON.parse(body.slice(1)).sid;
    return session;
  }

  async #ask(url, query, options) {
    const asked = performance.now();
    const answer = await within(fetch(`${url}/socket.io/?EIO=4&transport=polling${query}`, options), () => `an answer of ${url}`);
    const body = await answer.text();
    return { status: answer.status, body, retryAfter: answer.headers.get('retry-after'), took: performance.now() - asked };
  }

  /** Asks a gateway for what waits: `{status, body, retryAfter, took}`. */
  poll(url) {
    return this.#ask(url, `&sid=${this.sid}`);
  }

  /** Sends packets by a gateway. */
  post(url, body) {
    return this.#ask(url, `&sid=${this.sid}`, { method: 'POST', body });
  }

  /** Asks a gateway for an upgrade that it refuses. */
  async upgrade(url) {
    const asked = performance.now();
    const headers = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==' };
    const upgrade = request(`${url}/socket.io/?EIO=4&transport=websocket&sid=${this.sid}`, { headers }).end();
    const [answer] = await within(once(upgrade, 'response'), () => `an answer of ${url}`);
    answer.resume();
    return { status: answer.statusCode, retryAfter: answer.headers['retry-after'], took: performance.now() - asked };
  }
}
