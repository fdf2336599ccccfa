// 320 pixels: nothing is wider than the screen, and all is reached by the menu.

import { assert } from '../visit.mjs';

export const context = { viewport: { width: 320, height: 640 }, hasTouch: true };

export default async function narrow(visit, long) {
  const { tab } = visit;
  const fits = async (what) => {
    const wider = await tab.evaluate(() => {
      const most = document.documentElement.clientWidth;
      if (document.documentElement.scrollWidth <= most) return [];
      return [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > most + 1).map((one) => `${one.tagName}.${one.className}`);
    });
    assert.deepEqual(wider.slice(0, 5), [], `${what} is wider than the screen`);
  };
  await visit.open('overview', 'Overview');
  await visit.see('Top talkers');
  await fits('the overview');
  for (const name of ['Clients', 'Subscriptions', 'Retained messages', 'Queues', 'Console', 'Live trace', 'Bans', 'Listeners', 'Bridges', 'Configuration']) {
    await visit.button('Menu').click();
    assert.equal(await visit.button('Menu').getAttribute('aria-expanded'), 'true');
    await visit.go(name);
    await visit.main().locator('.state[role=status]').first().waitFor({ state: 'detached' });
    await fits(name);
  }
  for (const [hash, heading, text] of [
    ['clients/gateway-away', 'gateway-away', 'Session'],
    [`clients/${encodeURIComponent(long)}`, long, 'Session'],
    ['queues/orders', 'orders', 'which answered 0x83'],
    ['retained?topic=site/7/temperature', 'Retained messages', 'celsius'],
  ]) {
    await visit.open(hash, heading);
    await visit.see(text);
    await fits(hash);
  }
  await visit.open('clients/app-1', 'app-1');
  await visit.button('Ban').click();
  await visit.dialog().waitFor();
  await fits('a dialog');
  await tab.keyboard.press('Escape');
  // A row is a card, with its headings beside the values, and still a row.
  await visit.open('clients', 'Clients');
  const row = visit.row('Clients', 'app-1');
  await row.waitFor();
  assert.ok(await row.getByRole('cell').count() >= 5); // empty ones are left out
}
