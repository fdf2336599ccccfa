// Who may not come in.

import { button, h } from '../lib/dom.js';
import { time } from '../lib/format.js';
import { may } from '../lib/session.js';
import { ban, unban } from '../parts/actions.js';
import { selectField } from '../parts/form.js';
import { addressState, pagedList } from '../parts/list.js';
import { empty } from '../parts/states.js';

const NAMES = { clientid: 'client identifier', username: 'user name', peerhost: 'address' };
const KINDS = [['', 'all'], ...Object.entries(NAMES)];

/** A client identifier may be banned for one user and tenant alone. */
function whom({ who, of }) {
  if (!of) return who;
  return `${who} of ${of.username ?? 'anonymous clients'}${of.mount_point === null ? '' : ` at ${of.mount_point}`}`;
}

export function open({ params, signal }) {
  const state = addressState(['as', 'page', 'cursor']);
  const columns = [
    { label: 'Who', kind: 'is-name', text: whom },
    { label: 'By', kind: 'is-short', text: (row) => NAMES[row.as] },
    { label: 'Until', kind: 'is-short', text: (row) => (row.until === null ? 'for ever' : time(row.until)) },
    { label: 'Reason', kind: 'is-name', text: (row) => row.reason },
    { label: 'Made', kind: 'is-short', text: (row) => time(row.at) },
    { label: 'By whom', kind: 'is-name', text: (row) => row.by },
  ];
  if (may('operator')) {
    const lift = (row) => button('Let in', async () => { if (await unban(row)) list.refresh(); }, { kind: 'is-small', 'aria-label': `Let ${row.who} in` });
    columns.push({ label: 'Actions', kind: 'is-actions', node: lift });
  }
  const list = pagedList({
    where: '/banned', caption: 'Bans', columns, key: (row) => `${row.as} ${row.who} ${JSON.stringify(row.of ?? null)}`, state, signal,
    query: ({ as }) => ({ as }),
    nothing: () => empty('Nobody is banned', 'A ban ends the connections that it applies to and refuses new ones. It outlives a restart.'),
  });
  const filter = selectField('By', 'as', KINDS, {
    value: params.get('as') ?? '', kind: 'is-narrow', on: { change: (event) => list.set({ as: event.target.value }) },
  });
  const add = button('Ban…', async () => { if (await ban()) list.refresh(); }, { kind: 'is-main' });
  return {
    title: 'Bans',
    buttons: may('operator') ? [add] : [],
    content: [h('section', { class: 'panel' }, h('div', { class: 'filters fields' }, filter), list.element)],
  };
}
