// Asking again and again, without being a burden: never while the page is hidden, and at most a fiftieth of the time.

import { Unreachable, link } from './api.js';

const LEAST_MS = 4_000;
const SHARE = 50;
const AFTER_PROBLEM_MS = 15_000;

/**
 * Calls `load` until `signal` is aborted and gives what it returns to `show`, or its error to `fail`.
 * Returns a function that asks at once.
 */
export function poll(load, { signal, show, fail, least = LEAST_MS }) {
  let timer = null;
  let round = 0;

  const wait = (milliseconds) => {
    clearTimeout(timer);
    if (!signal.aborted) timer = setTimeout(run, milliseconds);
  };

  async function run() {
    clearTimeout(timer);
    if (signal.aborted || document.hidden) return;
    round += 1;
    const mine = round;
    const begun = performance.now();
    try {
      const answer = await load();
      if (signal.aborted || mine !== round) return;
      show(answer);
      wait(Math.max(least, (performance.now() - begun) * SHARE));
    } catch (error) {
      if (signal.aborted || mine !== round) return;
      fail(error);
      // Once the link is back, all ask again.
      if (!(error instanceof Unreachable)) wait(AFTER_PROBLEM_MS);
    }
  }

  link.addEventListener('back', run, { signal });
  document.addEventListener('visibilitychange', run, { signal });
  signal.addEventListener('abort', () => clearTimeout(timer));
  run();
  return run;
}
