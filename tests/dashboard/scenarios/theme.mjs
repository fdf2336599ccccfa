// Light and dark: as the system has it, until the reader says otherwise; kept over a reload.

import { assert } from '../visit.mjs';

export default async function theme(visit) {
  const { tab } = visit;
  const isDark = () => tab.evaluate(() => {
    const [red, green, blue] = getComputedStyle(document.documentElement).backgroundColor.match(/\d+/g).map(Number);
    return red + green + blue < 200;
  });
  await visit.open('overview', 'Overview');
  await tab.emulateMedia({ colorScheme: 'dark' });
  assert.ok(await isDark());
  await tab.emulateMedia({ colorScheme: 'light' });
  assert.ok(!(await isDark()));
  await tab.getByText('Dark', { exact: true }).click();
  assert.ok(await isDark());
  await tab.reload();
  await tab.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
  assert.ok(await isDark());
  assert.ok(await tab.getByRole('radio', { name: 'Dark' }).isChecked());
  await tab.emulateMedia({ colorScheme: 'dark' });
  await tab.getByText('Light', { exact: true }).click();
  assert.ok(!(await isDark()));
  await tab.getByText('Auto', { exact: true }).click();
  assert.ok(await isDark());
}
