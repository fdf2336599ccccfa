// The config is read again, the log level is set, a backup is begun.

import { assert } from '../visit.mjs';

export default async function process(visit) {
  const { tab } = visit;
  await visit.open('config', 'Configuration');
  await visit.button('Read it again…').click();
  await visit.confirm('Read the config again?', 'Read it again');
  await visit.told('The config was read again.');
  await tab.getByLabel('Search').fill('max_inflight');
  await tab.getByRole('button', { name: 'Change limits.max_inflight' }).click();
  await visit.confirm('Change this key?', 'Change it', (dialog) => dialog.getByLabel('Value').fill('77'));
  await visit.told('limits.max_inflight is changed.');
  assert.equal((await visit.api('/config')).body.limits.max_inflight, 77);
  await tab.getByRole('button', { name: 'Take back limits.max_inflight' }).click();
  await visit.confirm('Take the change back?', 'Take it back');
  await visit.told('limits.max_inflight is as in the config file.');
  assert.deepEqual((await visit.api('/config')).body.overridden, []);
  const level = tab.getByLabel('Level');
  await visit.until('the level is shown', async () => (await level.inputValue()) !== '');
  await level.fill('debug');
  await visit.button('Set').click();
  await visit.told('The log level is debug now.');
  assert.equal((await visit.api('/log_level')).body.level, 'debug');
  await level.fill('no=such=level');
  await visit.button('Set').click();
  await visit.told('level:');
  await visit.button('Begin a backup').click();
  await visit.told('has begun.');
  await tab.getByRole('table', { name: 'Backups' }).getByText('done').waitFor();
}

export const expected = [/400 \(Bad Request\)/];
