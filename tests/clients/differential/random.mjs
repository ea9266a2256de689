/**
 * A small generator of pseudo-random numbers: the same seed gives the same inputs on every machine.
 */

export class Random {
  #state;

  /** One stream for each pair: the inputs of one case do not depend on those before it. */
  constructor(seed, index) {
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0;
    this.below(2);
  }

  /** An integer from 0 to `end - 1`. */
  below(end) {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % end;
  }

  /** True in `percent` of a hundred. */
  chance(percent) {
    return this.below(100) < percent;
  }

  /** One of a list. */
  pick(list) {
    return list[this.below(list.length)];
  }

  /** A list of `count` things. */
  times(count, make) {
    return Array.from({ length: count }, make);
  }
}
