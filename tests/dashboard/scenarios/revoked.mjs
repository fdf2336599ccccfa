// A key is revoked while its page is open: back to the start, with the reason.

export default async function revoked(visit, key) {
  const { tab } = visit;
  await tab.goto(visit.address);
  await tab.getByLabel('API key').fill(key);
  await visit.button('Sign in').click();
  await tab.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
  await tab.getByText('ops, admin').waitFor();
  console.log('signed in');
  await tab.getByRole('heading', { level: 1, name: 'Sign in' }).waitFor();
  await tab.getByText('there is no such key').waitFor();
}

export const expected = [/401 \(Unauthorized\)/];
