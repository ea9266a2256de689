/** Waiting for facts that nobody announces. */

import { setTimeout as pause } from 'node:timers/promises';

import { within } from '../clients/wrap.mjs';

/** Looks until the condition holds, and resolves to what it said. `what` may be a function, for what it looks like then. */
export async function until(what, condition, milliseconds) {
  let isOver = false;
  const look = async () => {
    while (!isOver) {
      const value = await condition();
      if (value) return value;
      await pause(10);
    }
    return undefined;
  };
  const text = typeof what === 'function' ? what : () => what;
  return within(look(), text, milliseconds).finally(() => (isOver = true));
}
