/** The ledger finds what it is there for: one that is always content would let everything pass. */

import assert from 'node:assert/strict';
import { it } from 'node:test';

import { Ledger } from './ledger.mjs';

/**
 * What a ledger says of a story in words, a second apart: `join`, `joined`, `away`, `send` and `lose` (a message that is
 * taken, or whose publisher never hears of it), and numbers, which are heard by the one member, or by another one, `other 3`.
 */
function told(story) {
  let now = 0;
  const ledger = new Ledger(() => now);
  const steps = {
    join: () => ledger.joining('member', 'room'),
    joined: () => ledger.joined('member'),
    away: () => ledger.away('member'),
    send: () => ledger.taken('room', 'publisher', ledger.sends('room', 'publisher')),
    lose: () => void ledger.sends('room', 'publisher'),
  };
  for (const word of story.split(' ')) {
    // A point keeps the time: what comes behind it happens soon after.
    now += word.startsWith('.') ? 10 : 2_000;
    const step = word.replace('.', '');
    if (step in steps) steps[step]();
    else ledger.hears('member', 'room', 'publisher', Number(step));
  }
  return { ...ledger.verdict(), waiting: ledger.waiting() };
}

it('is content with what is right', () => {
  const { complaints, waiting, ...counts } = told('send join .joined send .1 send .2 away send join .joined send .4');
  assert.deepEqual([complaints, waiting], [[], []]);
  assert.deepEqual(counts, { sent: 5, unknown: 0, heard: 3, missed: 1, cut: 0, stays: 2 });
});

it('tells what was published while a member was away from what was on its way when it went', () => {
  const { missed, cut } = told('join .joined send .away');
  assert.deepEqual([missed, cut], [1, 1]);
  const late = told('join .joined send .away send send join .joined send .3');
  assert.deepEqual([late.complaints, late.missed, late.cut], [[], 3, 1]);
});

it('knows nothing of messages whose publisher never heard of them', () => {
  const { complaints, waiting, unknown } = told('join .joined lose .send .1');
  assert.deepEqual([complaints, waiting, unknown], [[], [], 1]);
  assert.deepEqual(told('join .joined lose .0 .send .1').complaints, []);
});

it('finds what is lost, doubled, reordered, invented', () => {
  const complains = (story, pattern) => assert.match(told(story).complaints.join('\n'), pattern, story);
  complains('join .joined .send .send .0 away', /lost 1, sent while it was in the room/);
  complains('join .joined .send .send .send .0 .2', /lost 1 between others/);
  complains('join .joined send send away', /lost 0, sent while/);
  complains('join .joined send .0 .0', /0 twice/);
  complains('join .joined send .0 .away join .joined .0', /0 twice/);
  complains('join .joined .send .send .1 .0', /0 after 1/);
  complains('join .joined send .0 .1', /1 was never sent/);
});

it('finds what is heard where it cannot be', () => {
  const complains = (story, pattern) => assert.match(told(story).complaints.join('\n'), pattern, story);
  complains('send .0', /heard publisher 0 of room, where it was not/);
  complains('join .joined away send .0', /where it was not/);
  complains('join .joined send .0 away send join .joined 1', /1 is from before it asked to join/);
});

it('waits for what is owed alone', () => {
  assert.match(told('join .joined send').waiting.join('\n'), /waits for publisher 0 of room/);
  assert.match(told('join').waiting.join('\n'), /has not joined/);
  assert.deepEqual(told('send join send .joined lose').waiting, []);
  assert.deepEqual(told('join .joined send away').waiting, []);
});

it('finds that members disagree on the order, where each publisher\'s is right', () => {
  const ledger = new Ledger();
  for (const name of ['a', 'b']) {
    ledger.joining(name, 'room');
    ledger.joined(name);
  }
  for (const publisher of ['p', 'q']) ledger.taken('room', publisher, ledger.sends('room', publisher));
  for (const [name, publisher] of [['a', 'p'], ['a', 'q'], ['b', 'q'], ['b', 'p']]) ledger.hears(name, 'room', publisher, 0);
  assert.match(ledger.verdict().complaints.join('\n'), /disagree on the order of 2 messages/);
  assert.deepEqual(ledger.verdict({ total: false }).complaints, []);
});
