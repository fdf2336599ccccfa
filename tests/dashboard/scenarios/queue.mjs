// A queue is paused and resumed, a dead letter goes back, the rest is purged: each asks first.

import { assert } from '../visit.mjs';

export default async function queue(visit) {
  const { tab } = visit;
  const now = async () => (await visit.api('/queues/orders')).body;
  await visit.open('queues/orders', 'orders');
  await visit.see('orders/new');

  await visit.button('Pause').click();
  await visit.cancel('Pause orders?');
  assert.equal((await now()).paused, false);
  await visit.button('Pause').click();
  await visit.confirm('Pause orders?', 'Pause');
  await visit.see('paused: no message leaves');
  assert.equal((await now()).paused, true);
  await visit.button('Resume').click();
  await visit.confirm('Resume orders?', 'Resume');
  await visit.until('it is running', async () => !(await now()).paused);

  const again = tab.getByRole('button', { name: /^Redrive: message/ });
  await again.click();
  await visit.cancel(/^Put message \d+ back into orders\?$/);
  assert.equal((await now()).dead_letters.depth, 1);
  await again.click();
  await visit.confirm(/^Put message \d+ back into orders\?$/, 'Redrive');
  await visit.told('1 message put back into orders.');
  await visit.see('No dead letters');
  assert.deepEqual([(await now()).dead_letters.depth, (await now()).messages.depth], [0, 2]);

  // One message, then all that is left.
  await tab.getByRole('button', { name: /^Delete: message/ }).first().click();
  await visit.confirm(/^Delete message \d+\?$/, 'Delete');
  await visit.until('one is left', async () => (await now()).messages.depth === 1);
  const purge = tab.locator('section', { has: tab.getByRole('heading', { name: 'Messages', exact: true }) }).getByRole('button', { name: 'Purge…' });
  await visit.until('it can be purged', () => purge.isEnabled());
  await purge.click();
  const dialog = visit.dialog();
  await dialog.getByRole('button', { name: 'Purge messages' }).click();
  await dialog.getByText('That is not orders.').waitFor();
  assert.equal((await now()).messages.depth, 1);
  await visit.confirm('Purge orders?', 'Purge messages', (open) => open.getByLabel('Write orders to go on').fill('orders'));
  await visit.told('1 message thrown away.');
  await visit.see('The queue is empty');
  assert.equal((await now()).messages.depth, 0);
}
