/**
 * The gateway makes of every input what Node.js servers make of it: generated ones, half of them damaged.
 *
 * `DIFFERENTIAL_SEED` and `DIFFERENTIAL_CASES` choose others; a failure names its seed and index, and shows the smallest
 * input that still differs. What differs on purpose is in `differential/differences.mjs`, and nowhere else.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { inspect } from 'node:util';

import { DIFFERENCES, expected, isApart, translated } from './differential/differences.mjs';
import { drive } from './differential/drive.mjs';
import { make, smaller } from './differential/inputs.mjs';
import { Observed } from './differential/observed.mjs';
import { Random } from './differential/random.mjs';
import { CONFIGURATION, Reference } from './differential/reference.mjs';
import { Gateway } from './gateway.mjs';

/** What the continuous run does. */
const FIXED = { seeds: [1, 2], cases: 2_500 };

const SEEDS = process.env.DIFFERENTIAL_SEED ? [Number(process.env.DIFFERENTIAL_SEED)] : FIXED.seeds;
const CASES = Number(process.env.DIFFERENTIAL_CASES ?? FIXED.cases);
const IS_FIXED = SEEDS === FIXED.seeds && CASES === FIXED.cases;

/** Failing cases that are shown, and runs that making one smaller may take. */
const FAILURES_MAX = 5;
const SMALLER_RUNS_MAX = 300;

/** A case or an outcome to read: bytes as Latin-1. */
const shown = (value) => {
  const text = (key, item) => (item?.type === 'Buffer' ? Buffer.from(item.data).toString('latin1') : item);
  return inspect(JSON.parse(JSON.stringify(value), text), { depth: 9, breakLength: 120, maxStringLength: 1_000 });
};

describe('what is made of raw inputs', () => {
  let gateway;
  let ours;
  let references;
  /** Names of the differences that were met. */
  const met = new Set();

  before(async () => {
    gateway = await Gateway.start({ rest: CONFIGURATION });
    ours = await Observed.start(gateway.port);
    references = [await Reference.start('4.8.4'), await Reference.start('2.5.1')];
  });
  after(async () => {
    ours.stop();
    await Promise.all(references.map((reference) => reference.stop()));
    await gateway.stop();
  });

  /** Undefined where the gateway agrees; else the outcomes. For v3 it may agree with either generation of servers. */
  async function disagreement(item) {
    const note = (name) => met.add(name);
    if (isApart(item, note)) return undefined;
    const outcome = await drive(ours, item);
    const wanted = [];
    for (const reference of references) {
      if (wanted.length > 0 && (item.eio ?? item.session) === '4') break;
      wanted.push(expected(item, await drive(reference, translated(item, note)), outcome, note));
      if (JSON.stringify(wanted.at(-1)) === JSON.stringify(outcome)) return undefined;
    }
    return { outcome, wanted };
  }

  /** The smallest case like this one that the servers still disagree on. */
  async function smallest(item, found) {
    let [least, story] = [item, found];
    let runs = 0;
    for (let isSmaller = true; isSmaller; ) {
      isSmaller = false;
      for (const candidate of smaller(least)) {
        if ((runs += 1) > SMALLER_RUNS_MAX) break;
        const difference = await disagreement(candidate).catch(() => undefined);
        if (!difference) continue;
        [least, story, isSmaller] = [candidate, difference, true];
        break;
      }
    }
    return `${shown(least)}\n  the gateway: ${shown(story.outcome)}\n  wanted: ${story.wanted.map(shown).join('\n  or: ')}`;
  }

  for (const seed of SEEDS) {
    it(`seed ${seed}: is what Node.js servers make of them, over ${CASES} cases`, async () => {
      const failures = [];
      for (let index = 0; index < CASES && failures.length < FAILURES_MAX; index += 1) {
        const item = make(new Random(seed, index));
        const name = `case ${index} of DIFFERENTIAL_SEED=${seed}`;
        try {
          const found = await disagreement(item);
          if (found) failures.push(`${name}: ${await smallest(item, found)}`);
        } catch (error) {
          failures.push(`${name}: ${shown(item)}\n  ${error.stack}`);
        }
      }
      assert.equal(failures.length, 0, `\n${failures.join('\n\n')}\n`);
    });
  }

  it('differs on purpose where the list of differences says so, and that list is not too long', () => {
    if (!IS_FIXED) return;
    assert.deepEqual(DIFFERENCES.map(({ name }) => name).filter((name) => !met.has(name)), []);
  });
});
