// A visit to the dashboard: how the scenarios go about, and what they expect.

import assert from 'node:assert/strict';

export { assert };

export class Visit {
  constructor(tab, address) {
    Object.assign(this, { tab, address });
  }

  /** Opens a page by the part behind the #, and waits for its heading. */
  async open(hash, heading) {
    await this.tab.goto(`${this.address}#/${hash}`);
    await this.tab.getByRole('heading', { level: 1, name: heading, exact: true }).waitFor();
  }

  /** Goes there by the navigation. */
  async go(name) {
    await this.tab.getByRole('navigation', { name: 'Pages', exact: true }).getByRole('link', { name, exact: true }).click();
    await this.tab.getByRole('heading', { level: 1, name, exact: true }).waitFor();
  }

  main() {
    return this.tab.getByRole('main');
  }

  /** The row of a table that has this text in its first cell. */
  row(table, name) {
    const head = this.tab.getByRole('rowheader', { name, exact: true });
    return this.tab.getByRole('table', { name: table, exact: true }).getByRole('row').filter({ has: head });
  }

  /** Text that is to be seen in the page, at least once. */
  async see(text) {
    await this.main().getByText(text).first().waitFor();
  }

  async seeNot(text) {
    await this.main().getByText(text).first().waitFor({ state: 'detached' });
  }

  button(name) {
    return this.tab.getByRole('button', { name, exact: true });
  }

  /** The dialog that is open. */
  dialog() {
    return this.tab.getByRole('dialog');
  }

  /** Says yes in the dialog of this title; `fill` may write into it before. */
  async confirm(title, action, fill = async () => {}) {
    const dialog = this.tab.getByRole('dialog', { name: title });
    await dialog.waitFor();
    await fill(dialog);
    await dialog.getByRole('button', { name: action, exact: true }).click();
    await dialog.waitFor({ state: 'detached' });
  }

  /** Thinks better of it. */
  async cancel(title) {
    const dialog = this.tab.getByRole('dialog', { name: title });
    await dialog.waitFor();
    await dialog.getByRole('button', { name: 'Cancel', exact: true }).click();
    await dialog.waitFor({ state: 'detached' });
  }

  /** The news that appear in a corner. */
  async told(text) {
    await this.tab.locator('.notice', { hasText: text }).first().waitFor();
  }

  /** What the API says, past the page. */
  async api(path, options) {
    const response = await fetch(new URL(`/api/v1${path}`, this.address), options);
    return { status: response.status, body: response.status === 204 ? null : await response.json() };
  }

  /** Waits until it holds. */
  async until(what, holds) {
    const deadline = Date.now() + 20_000;
    while (!(await holds())) {
      if (Date.now() > deadline) throw new Error(`it never came about that ${what}`);
      await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
  }
}
