// A client is followed live: what it sends appears.

import { assert } from '../visit.mjs';

export default async function trace(visit) {
  const { tab } = visit;
  await visit.open('trace', 'Live trace');
  await visit.button('Follow').click();
  assert.equal(await tab.getByLabel('Which').evaluate((field) => field === document.activeElement), true);
  await tab.getByLabel('Which').fill('traced');
  await visit.button('Follow').click();
  await visit.see('Following.');
  console.log('following');
  const log = tab.getByRole('log', { name: 'Trace' });
  await log.getByText('traced/topic').waitFor();
  await log.getByText('what it says').waitFor();
  await log.getByText('publish', { exact: true }).waitFor();
  await visit.button('Stop').click();
  await visit.see('Stopped.');
  assert.match(tab.url(), /clientid=traced/);
}
