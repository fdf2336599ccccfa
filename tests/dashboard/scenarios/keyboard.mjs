// Without a mouse: order, visible focus, dialogs that keep it and give it back, charts that can be read.

import { assert } from '../visit.mjs';

export default async function keyboard(visit) {
  const { tab } = visit;
  const press = async (...keys) => {
    for (const key of keys) await tab.keyboard.press(key);
  };
  const focused = () => tab.evaluate(() => {
    const at = document.activeElement;
    return { text: at.textContent.trim(), tag: at.tagName, inDialog: at.closest('dialog') !== null, outline: getComputedStyle(at).outlineStyle };
  });
  await visit.open('overview', 'Overview');
  await visit.see('Top talkers');
  await press('Tab');
  assert.deepEqual({ ...(await focused()) }, { text: 'Skip to the content', tag: 'A', inDialog: false, outline: 'solid' });
  await press('Tab');
  assert.equal((await focused()).text, 'Overview');
  await press('Tab', 'Enter');
  await tab.getByRole('heading', { level: 1, name: 'Clients' }).waitFor();
  // Reading begins at the heading of the new page.
  await visit.until('the heading has the focus', async () => (await focused()).text === 'Clients');

  // Walk to a client, and into a dialog.
  await visit.row('Clients', 'app-1').waitFor();
  const reach = async (text) => {
    for (let step = 0; step < 40; step += 1) {
      const at = await focused();
      if (at.text === text) {
        assert.notEqual(at.outline, 'none', `the focus on ${text} is to be seen`);
        return;
      }
      await press('Tab');
    }
    throw new Error(`${text} cannot be reached by Tab`);
  };
  await reach('app-1');
  await press('Enter');
  await tab.getByRole('heading', { level: 1, name: 'app-1' }).waitFor();
  await visit.until('the buttons can be used', () => visit.button('Disconnect').isEnabled());
  await reach('Disconnect');
  await press('Enter');
  await visit.dialog().waitFor();
  // What destroys is not where the return key is.
  assert.deepEqual([(await focused()).text, (await focused()).inDialog], ['Cancel', true]);
  for (let step = 0; step < 6; step += 1) {
    await press('Tab');
    const at = await focused();
    assert.ok(at.inDialog || at.tag === 'BODY', `the focus left the dialog for ${at.tag} ${at.text}`);
  }
  await press('Escape');
  await visit.dialog().waitFor({ state: 'detached' });
  assert.equal((await focused()).text, 'Disconnect');

  // A list that is asked for again does not take the focus away.
  await visit.open('clients', 'Clients');
  const link = visit.row('Clients', 'app-1').getByRole('link');
  await link.focus();
  const asked = tab.waitForResponse((response) => response.url().includes('/api/v1/clients?'));
  await asked;
  await tab.waitForTimeout(100);
  assert.equal((await focused()).text, 'app-1');

  // The chart tells its values to the arrow keys.
  await visit.open('overview', 'Overview');
  const chart = tab.getByRole('img', { name: /^Memory/ });
  await visit.until('there are two samples', async () => /L/.test(await chart.locator('.series-0').getAttribute('d')));
  await chart.focus();
  await press('ArrowLeft');
  assert.match(await chart.getAttribute('aria-label'), /^Memory at \d\d:\d\d:\d\d: resident \d/);
  await press('Escape');
  assert.match(await chart.getAttribute('aria-label'), /^Memory: resident/);
}
