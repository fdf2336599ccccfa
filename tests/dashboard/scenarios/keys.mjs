// A broker with API keys: wrong ones are refused in words, roles decide what is offered, and no key is in an address.

import { assert } from '../visit.mjs';

export default async function keys(visit, viewer, operator) {
  const { tab } = visit;
  const addresses = [];
  tab.on('request', (request) => addresses.push(request.url()));
  const signIn = async (key) => {
    await tab.getByLabel('API key').fill(key);
    await visit.button('Sign in').click();
  };
  await tab.goto(visit.address);
  await tab.getByRole('heading', { level: 1, name: 'Sign in' }).waitFor();
  assert.equal(await tab.getByLabel('API key').evaluate((field) => field === document.activeElement && field.type), 'password');
  await signIn('nonsense');
  await tab.getByText('A key looks like NAME.SECRET.').waitFor();
  await signIn('viewer.wrong');
  await tab.getByText('there is no such key').waitFor();

  await signIn(viewer);
  await tab.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
  await tab.getByText('viewer, viewer').waitFor();
  await visit.go('Bans');
  await visit.see('Nobody is banned');
  assert.equal(await visit.button('Ban…').count(), 0);
  await visit.go('Live trace');
  await visit.see('This takes an operator');
  await visit.go('Configuration');
  await visit.see('Log level');
  assert.equal(await visit.button('Read it again…').count(), 0);
  // Kept over a reload of this tab, and nowhere else.
  await tab.reload();
  await tab.getByText('viewer, viewer').waitFor();
  const stores = await tab.evaluate(() => [JSON.stringify({ ...localStorage }), document.cookie]);
  const secret = viewer.split('.')[1];
  assert.ok(stores.every((store) => !store.includes(secret)));

  await visit.button('Sign out').click();
  await tab.getByRole('heading', { level: 1, name: 'Sign in' }).waitFor();
  assert.equal(await tab.evaluate(() => sessionStorage.length), 0);
  await signIn(operator);
  await tab.getByText('operator, operator').waitFor();
  await visit.go('Bans');
  await visit.button('Ban…').waitFor();
  await visit.open('trace?clientid=x', 'Live trace');
  await visit.see('Following.');
  assert.ok(addresses.every((address) => [viewer, operator].every((key) => !address.includes(key.split('.')[1]))));
}

export const expected = [/401 \(Unauthorized\)/];
