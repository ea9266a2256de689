/** The checker finds what it is there for: a checker that is always content would let everything pass. */

import assert from 'node:assert/strict';
import { it } from 'node:test';

import { Checker } from './checker.mjs';

/** A record with members `a` and `b` in the room from the start, and what each heard of publishers `p` and `q`. */
function record({ a = [], b = [], p = 3, q = 0 }) {
  const checker = new Checker();
  for (const name of ['a', 'b']) {
    checker.joining(name);
    checker.joined(name);
  }
  for (let count = 0; count < p; count += 1) checker.sends('p');
  for (let count = 0; count < q; count += 1) checker.sends('q');
  for (const [name, messages] of Object.entries({ a, b })) {
    for (const message of messages) checker.hears(name, message[0], Number(message[1]));
  }
  return checker;
}

it('is content with what is right', () => {
  const checker = record({ a: ['p0', 'q0', 'p1', 'p2'], b: ['p0', 'q0', 'p1', 'p2'], q: 1 });
  assert.deepEqual([checker.complaints({ total: true }), checker.stillOwed()], [[], []]);
});

it('finds what is lost, doubled, reordered, invented', () => {
  const complaint = (a, pattern) => assert.match(record({ a }).complaints().join('\n'), pattern);
  complaint(['p0', 'p2'], /lost 1 to 1/);
  complaint(['p1', 'p2'], /lost 0 to 0, sent after/);
  complaint(['p0', 'p0', 'p1'], /0 twice/);
  complaint(['p0', 'p2', 'p1'], /1 after 2/);
  complaint(['p0', 'p1', 'p2', 'p3'], /never sent/);
  complaint(['a0'], /its own/);
  assert.deepEqual(record({ a: ['p0', 'p1'], b: ['p0', 'p1', 'p2'] }).stillOwed(), ['a']);
  assert.deepEqual(record({ a: [], b: ['p0', 'p1', 'p2'] }).stillOwed(), ['a']);
});

it('finds that members disagree, where each publisher\'s order is right', () => {
  const checker = record({ a: ['p0', 'q0'], b: ['q0', 'p0'], p: 1, q: 1 });
  assert.deepEqual(checker.complaints(), []);
  assert.match(checker.complaints({ total: true }).join('\n'), /disagree on the order of 2 messages/);
});

it('finds what comes outside a stay, and demands nothing of around it', () => {
  const checker = record({ p: 0 });
  checker.sends('p');
  checker.left('a');
  checker.hears('a', 'p', 0);
  assert.match(checker.complaints().join('\n'), /while it was not in the room/);
  const calm = record({ p: 0 });
  calm.sends('p');
  calm.left('a');
  calm.sends('p');
  calm.joining('a');
  calm.sends('p');
  calm.joined('a');
  calm.sends('p');
  calm.hears('a', 'p', 2);
  calm.hears('a', 'p', 3);
  assert.deepEqual([calm.complaints(), calm.stillOwed()], [[], ['b']]);
});
