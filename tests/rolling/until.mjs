/** Waiting for facts that nobody announces, and ending a test's parts. */

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

/** A test whose parts end in the order opposite to that in which they began: clients first, Redis last. */
export function backwards(t) {
  const ends = [];
  t.after(async () => {
    for (const end of ends.reverse()) await end();
  });
  return { after: (end) => void ends.push(end), diagnostic: (text) => t.diagnostic(text) };
}

/** Runs a program that uses what tests use: it prints what they would say, and ends as they would. */
export async function byHand(program) {
  const ends = [];
  try {
    await program({ after: (end) => void ends.push(end), diagnostic: (text) => console.log(text) });
  } finally {
    for (const end of ends.reverse()) await end();
  }
}
