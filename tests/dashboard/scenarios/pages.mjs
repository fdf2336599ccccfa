// Each page shows what there is in the broker.

import { assert } from '../visit.mjs';

export default async function pages(visit) {
  const { tab } = visit;
  // The root leads browsers here.
  await tab.goto(new URL('/', visit.address).href);
  assert.equal(new URL(tab.url()).pathname, '/dashboard/');
  await overview(visit);

  await visit.go('Clients');
  await visit.row('Clients', 'app-1').getByText('connected').waitFor();
  const away = visit.row('Clients', 'gateway-away');
  await away.getByText('away', { exact: true }).waitFor();
  await away.getByRole('link').click();
  await tab.getByRole('heading', { level: 1, name: 'gateway-away' }).waitFor();
  await visit.see('normal disconnection (0x00), ended by the client');
  await visit.row('Subscriptions', 'site/7/#').waitFor();
  // It may lie on disk, where its topic is not looked up.
  await visit.row('Waiting messages', '1').getByText(/^(on disk|.*21\.5.*)$/).waitFor();
  await visit.see('Nothing is under way');

  await visit.go('Subscriptions');
  await visit.row('Filters', 'site/+/temperature').getByRole('link').click();
  await visit.row('Subscriptions', 'app-1').waitFor();
  await tab.getByText('Filters', { exact: true }).click();
  await visit.row('Filters', 'site/7/#').waitFor();

  await visit.go('Retained messages');
  await visit.button('site').click();
  await visit.button('7').click();
  await tab.getByRole('link', { name: 'Message of site/7/temperature' }).click();
  await visit.see('"celsius": 21.5');
  await visit.see('app-1');

  await queue(visit);
  await visit.go('Listeners');
  await visit.row('Listeners', 'websocket').getByText('ws', { exact: true }).waitFor();
  await visit.go('Bridges');
  const bridge = visit.row('Bridges', 'elsewhere');
  await bridge.getByText('away').waitFor();
  await bridge.getByText('out/# out').waitFor();
  await visit.go('Configuration');
  await visit.see('[[listeners]]');
  await tab.getByLabel('Search').fill('max_deliveries');
  await visit.see('max_deliveries');
  await visit.seeNot('ws://127.0.0.1:0/mqtt');
  await visit.go('Bans');
  await visit.see('Nobody is banned');
}

async function overview(visit) {
  await visit.tab.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
  const tile = (name) => visit.tab.getByRole('region', { name, exact: true });
  await tile('Connections').getByText('2', { exact: true }).waitFor(); // app-1 and the worker
  await tile('Connections').getByText('2 sessions whose clients are away').waitFor(); // the gateway, and the bridge
  await visit.until('a message waits', async () => (await tile('Waiting messages').locator('b').first().textContent()) === '1');
  await tile('Work queues').getByText('1 queue').waitFor();
  for (const name of ['Messages', 'Traffic', 'Dropped messages', 'Memory', 'CPU', 'Disk', 'Disk sync']) await tile(name).waitFor();
  // A line needs two samples.
  const line = tile('Memory').locator('.series-0');
  await visit.until('the chart of memory has a line', async () => /M[\d. ]+L/.test(await line.getAttribute('d')));
  await visit.row('Top talkers', 'app-1').waitFor();
}

async function queue(visit) {
  await visit.go('Queues');
  const row = visit.row('Queues', 'orders');
  await row.getByText('has dead letters').waitFor();
  assert.deepEqual((await row.getByRole('cell').allTextContents()).slice(1, 5), ['1', '1', '0', '0']);
  await row.getByRole('link').click();
  await visit.see('Tried as often as the queue allows: 1 attempt, last with worker-1, which answered 0x83.');
  await visit.see('orders/next');
  await visit.tab.getByRole('button', { name: /^Look: message/ }).first().click();
  await visit.dialog().getByText('"order": 17').waitFor();
  await visit.tab.keyboard.press('Escape');
  await visit.dialog().waitFor({ state: 'detached' });
}
