// The page as an MQTT client: connects, subscribes, receives, publishes, is refused in words.

import { assert } from '../visit.mjs';

export default async function mqttConsole(visit) {
  const { tab } = visit;
  await visit.open('console', 'Console');
  await visit.button('Connect').click();
  await visit.see('Connected as dashboard-');
  const id = await tab.getByLabel('Client identifier').inputValue();
  assert.equal((await visit.api(`/clients/${id}`)).body.connected, true);

  await tab.getByLabel('Topic filter').fill('to/console');
  await visit.button('Subscribe').click();
  await visit.see('Subscribed to to/console.');
  console.log('subscribed');
  const messages = tab.getByRole('log', { name: 'Messages' });
  await messages.getByText('<b>hello</b>').waitFor();
  assert.equal(await messages.locator('b').count(), 0);

  const form = tab.locator('form').filter({ hasText: 'Payload' });
  const publish = async (qos, payload) => {
    await form.getByLabel('Topic').fill('from/console');
    await form.getByLabel('QoS').selectOption(qos);
    await form.getByLabel('Payload').fill(payload);
    await form.getByRole('button', { name: 'Publish' }).click();
  };
  await publish('0', 'at most once');
  await visit.see('Published to from/console: sent.');
  await publish('1', 'at least once');
  await visit.see('Published to from/console: acknowledged.');
  await form.getByLabel('Retain').check();
  await publish('1', 'kept');
  await visit.until('it is retained', async () => (await visit.api('/retained/from%2Fconsole')).status === 200);

  // Wrong filters and topics are told, and the connection goes on or its end is told.
  await tab.getByLabel('Topic filter').fill('a/#/b');
  await visit.button('Subscribe').click();
  await visit.main().locator('.fault', { hasText: /refuses|ended/ }).waitFor();

  // The page is left, and its client with it.
  await visit.go('Clients');
  await visit.until('the client is gone', async () => (await visit.api(`/clients/${id}`)).status === 404);
}
