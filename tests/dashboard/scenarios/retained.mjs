// A retained message is deleted, after a question, and is gone from the tree.

import { assert } from '../visit.mjs';

export default async function retained(visit) {
  const { tab } = visit;
  await visit.open('retained', 'Retained messages');
  await visit.button('site').click();
  await visit.button('8').click();
  await tab.getByRole('link', { name: 'Message of site/8/valve' }).click();
  await visit.see('open');
  await visit.button('Delete').click();
  await visit.cancel('Delete the retained message?');
  assert.equal((await visit.api('/retained/site%2F8%2Fvalve')).status, 200);
  await visit.button('Delete').click();
  await visit.confirm('Delete the retained message?', 'Delete');
  await visit.told('The retained message of site/8/valve is gone.');
  assert.equal((await visit.api('/retained/site%2F8%2Fvalve')).status, 404);
  await visit.button('site').click();
  await visit.button('7').waitFor();
  assert.equal(await visit.button('8').count(), 0);
}
