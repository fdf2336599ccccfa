// The broker goes away and comes back: it is said, what was there stays, and it goes on by itself.

import { assert } from '../visit.mjs';

export default async function lost(visit) {
  const { tab } = visit;
  await visit.open('listeners', 'Listeners');
  await visit.row('Listeners', 'tcp').waitFor();
  const banner = tab.getByText('The broker does not answer. What is shown here is from before.');
  assert.equal(await banner.count(), 0);
  console.log('connected');
  await banner.waitFor();
  assert.equal(await tab.locator('[role=alert]', { hasText: 'The broker does not answer' }).count(), 1);
  await tab.getByText(/Next attempt in \d+ s|Trying…/).waitFor();
  assert.ok(await visit.row('Listeners', 'tcp').isVisible());
  // A page that was never loaded says so in its place.
  await visit.go('Bans');
  await visit.see('This goes on by itself once it is back.');
  console.log('lost');
  await banner.waitFor({ state: 'detached' });
  console.log('back');
  await visit.see('Nobody is banned');
}

export const expected = [/ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_SOCKET_NOT_CONNECTED|ERR_CONNECTION_CLOSED/];
