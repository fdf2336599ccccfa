// 120 clients, 50 on a page: pages, search, order, and an address that can be sent to a colleague.

import { assert } from '../visit.mjs';

export default async function many(visit) {
  const { tab } = visit;
  const names = () => tab.getByRole('table', { name: 'Clients' }).getByRole('rowheader').allTextContents();
  await visit.open('clients', 'Clients');
  await visit.see('1–50 of 120');
  assert.equal((await names()).length, 50);
  assert.equal((await names())[0], 'sensor-000');
  assert.ok(await visit.button('Previous').isDisabled());
  await visit.button('Next').click();
  await visit.see('51–100 of 120');
  assert.equal((await names())[0], 'sensor-050');
  await visit.button('Next').click();
  await visit.see('101–120 of 120');
  assert.ok(await visit.button('Next').isDisabled());
  await tab.reload();
  await visit.see('101–120 of 120');
  await visit.button('Previous').click();
  await visit.see('51–100 of 120');

  await visit.button('Subscriptions').click();
  await visit.until('the one that has subscribed comes first', async () => (await names())[0] === 'sensor-077');
  const head = tab.getByRole('columnheader', { name: 'Subscriptions' });
  assert.equal(await head.getAttribute('aria-sort'), 'descending');
  await visit.button('Subscriptions').click();
  await visit.until('it comes last', async () => (await names())[0] === 'sensor-000');
  assert.equal(await head.getAttribute('aria-sort'), 'ascending');

  await tab.getByRole('searchbox', { name: 'Search' }).fill('sensor-07');
  await visit.until('ten are left', async () => (await names()).length === 10);
  assert.match(tab.url(), /like=sensor-07/);
  await tab.getByLabel('State').selectOption('disconnected');
  await visit.see('No client is like this');
}
