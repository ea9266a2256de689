/** A client of Engine.IO 4 by polling, made by hand: for what stock clients do not do when they are told to. */

import assert from 'node:assert/strict';

import { within } from '../clients/wrap.mjs';

/** One session that polls. */
export class Poller {
  /** Opens a session and joins a room; gives the poller with the `id` that others are shown. */
  static async enter(url, room) {
    const poller = new Poller();
    poller.url = `${url}/socket.io/?EIO=4&transport=polling`;
    const { sid } = JSON.parse((await poller.get()).slice(1));
    poller.url += `&sid=${sid}`;
    await poller.post('40');
    assert.match(await poller.get(), /^40\{"sid":/);
    await poller.post(`421["join",${JSON.stringify(room)}]`);
    const [, answer] = /^431\[(.*)\]$/.exec(await poller.get());
    poller.id = JSON.parse(answer).socket;
    return poller;
  }

  async get(signal) {
    const response = await fetch(this.url, { signal });
    assert.equal(response.status, 200);
    return response.text();
  }

  async post(body) {
    const response = await fetch(this.url, { method: 'POST', body });
    assert.deepEqual([response.status, await response.text()], [200, 'ok']);
  }

  /** Polls, and gives the poll up once `meanwhile` is done. */
  async abandon(meanwhile) {
    const controller = new AbortController();
    const poll = this.get(controller.signal);
    await Promise.race([meanwhile(), poll.then((text) => assert.fail(`the poll was answered: ${text}`))]);
    controller.abort();
    await within(assert.rejects(poll, { name: 'AbortError' }), () => 'the poll is given up');
  }
}
