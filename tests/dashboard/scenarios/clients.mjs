// Disconnect, ban, let in, end a session: each asks first.

import { assert } from '../visit.mjs';

export default async function clients(visit) {
  const isConnected = async (id) => (await visit.api(`/clients/${id}`)).body.connected;
  await visit.open('clients/app-1', 'app-1');
  await visit.until('the page knows the client', () => visit.button('Disconnect').isEnabled());
  await visit.button('Disconnect').click();
  await visit.cancel('Disconnect app-1?');
  assert.equal(await isConnected('app-1'), true);
  await visit.button('Disconnect').click();
  await visit.confirm('Disconnect app-1?', 'Disconnect');
  await visit.told('app-1 was disconnected.');
  // Its session ended with its connection.
  await visit.see('There is no such client');

  await visit.open('clients/worker-1', 'worker-1');
  await visit.until('the page knows the client', () => visit.button('Ban').isEnabled());
  await visit.button('Ban').click();
  await visit.cancel('Ban');
  assert.equal((await visit.api('/banned')).body.data.length, 0);
  await visit.button('Ban').click();
  await visit.confirm('Ban', 'Ban', async (dialog) => {
    assert.equal(await dialog.getByLabel('Who').inputValue(), 'worker-1');
    await dialog.getByLabel('Reason').fill('too loud');
    await dialog.getByLabel('For', { exact: true }).selectOption('1 day');
  });
  await visit.told('worker-1 is banned.');
  const [made] = (await visit.api('/banned')).body.data;
  assert.deepEqual([made.as, made.who, made.reason], ['clientid', 'worker-1', 'too loud']);

  await visit.go('Bans');
  await visit.row('Bans', 'worker-1').getByText('too loud').waitFor();
  await visit.button('Ban…').click();
  // What the broker does not take is told in the dialog, which stays.
  const dialog = visit.dialog();
  await dialog.getByLabel('By').selectOption('Address');
  await dialog.getByLabel('Who').fill('no address');
  await dialog.getByRole('button', { name: 'Ban', exact: true }).click();
  await dialog.getByText('no address like').waitFor();
  await dialog.getByLabel('By').selectOption('Client identifier');
  await dialog.getByLabel('Who').fill('app-1');
  await dialog.getByRole('button', { name: 'Ban', exact: true }).click();
  await visit.row('Bans', 'app-1').waitFor();
  await visit.button('Let app-1 in').click();
  await visit.confirm('Let app-1 in again?', 'Take away the ban');
  await visit.row('Bans', 'app-1').waitFor({ state: 'detached' });

  await visit.open('clients/gateway-away', 'gateway-away');
  await visit.until('the page knows the client', () => visit.button('End session').isEnabled());
  assert.ok(await visit.button('Disconnect').isDisabled());
  await visit.button('End session').click();
  await visit.confirm('End the session of gateway-away?', 'End session');
  await visit.see('There is no such client');
  assert.equal((await visit.api('/clients/gateway-away')).status, 404);
}

/** The ban of no address, and clients that are gone. */
export const expected = [/400 \(Bad Request\)/, /404 \(Not Found\)/];
