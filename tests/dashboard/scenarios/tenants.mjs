// Two clients of one name, one of them below a mount point: a page stays with the one that it was opened for.

import { assert } from '../visit.mjs';

export default async function tenants(visit) {
  await visit.open('clients/same', 'same');
  await visit.until('the page knows the client', () => visit.button('End session').isEnabled());
  assert.equal((await visit.api('/sessions/same?mountpoint=', { method: 'DELETE' })).status, 204);
  await visit.see('There is no such client');
  assert.ok(await visit.button('End session').isDisabled());

  await visit.open('clients', 'Clients');
  await visit.row('Clients', 'same').getByRole('link').click();
  await visit.see('tenant/');
  await visit.until('the page knows the client', () => visit.button('Disconnect').isEnabled());
  assert.equal((await visit.api('/clients/same?mountpoint=tenant%2F')).body.connected, true);
}

/** The client that is gone. */
export const expected = [/404 \(Not Found\)/];
