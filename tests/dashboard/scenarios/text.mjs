// Identifiers, topics, user names and payloads that look like markup are shown by their letters.

import { assert } from '../visit.mjs';

export default async function text(visit, markup) {
  const { tab } = visit;
  const clean = async () => assert.deepEqual(await tab.locator('img').evaluateAll((all) => all.map((one) => one.getAttribute('src'))), ['icon.svg']);
  const seen = async (what = markup) => {
    await visit.main().getByText(what).first().waitFor();
    await clean();
  };
  const part = encodeURIComponent(markup);
  await visit.open('clients', 'Clients');
  await visit.row('Clients', markup).getByRole('link').click();
  await tab.getByRole('heading', { level: 1, name: markup }).waitFor();
  await seen();
  for (const action of ['Disconnect', 'End session', 'Ban']) {
    await visit.button(action).click();
    await visit.dialog().waitFor();
    await clean();
    await tab.keyboard.press('Escape');
    await visit.dialog().waitFor({ state: 'detached' });
  }
  await visit.open('topics', 'Subscriptions');
  await seen(`${markup}/#`);
  await visit.open('overview', 'Overview');
  await seen();
  await visit.open(`retained?topic=${encodeURIComponent(`evil/${markup}`)}`, 'Retained messages');
  await seen(`evil/${markup}`);
  await visit.button('evil').click();
  await tab.getByRole('link', { name: `Message of evil/${markup}` }).waitFor();
  await visit.open('queues/orders', 'orders');
  await seen(`orders/${markup}`);
  await tab.getByRole('button', { name: /^Look: message/ }).first().click();
  await visit.dialog().getByText(markup).first().waitFor();
  await clean();
  await tab.keyboard.press('Escape');

  await visit.api('/banned', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ as: 'username', who: `x${markup}`, reason: markup }),
  });
  await visit.open('bans', 'Bans');
  await seen();

  await visit.open(`trace?topic=${part}`, 'Live trace');
  await visit.see('Following.');
  await visit.api('/publish', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ topic: markup, payload: markup }),
  });
  await tab.getByRole('log').getByText(markup).first().waitFor();
  await clean();

  // What the policy is for, should a line of the page ever forget it.
  const refused = await tab.evaluate(() => {
    try {
      document.body.innerHTML = '<b>x</b>';
      return 'taken';
    } catch (error) {
      return error.name;
    }
  });
  assert.equal(refused, 'TypeError');
}

/** The browser tells of the attempt at the end. */
export const expected = [/TrustedHTML/];
