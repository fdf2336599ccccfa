// The doors.

import { h } from '../lib/dom.js';
import { count } from '../lib/format.js';
import { href } from '../lib/router.js';
import { pagedList } from '../parts/list.js';
import { empty } from '../parts/states.js';

const COLUMNS = [
  { label: 'Name', kind: 'is-name', text: (row) => row.id },
  { label: 'Transport', kind: 'is-short', text: (row) => row.type },
  { label: 'Bound to', kind: 'is-short', text: (row) => row.bind },
  { label: 'Versions', kind: 'is-short', text: (row) => row.versions.join(', ') },
  { label: 'Mount point', kind: 'is-name', text: (row) => row.mountpoint || 'none' },
  { label: 'Connected', kind: 'is-number', text: (row) => count(row.current_connections) },
  { label: 'At most', kind: 'is-number', text: (row) => (row.max_connections > 0 ? count(row.max_connections) : 'no bound') },
  { label: 'Pending', kind: 'is-number', text: (row) => count(row.pending_connections) },
  { label: 'Accepted', kind: 'is-number', text: (row) => count(row.accepted_total) },
  { label: 'Failed handshakes', kind: 'is-number', text: (row) => count(row.handshake_failures_total) },
];

export function open({ signal }) {
  const list = pagedList({
    where: '/listeners', caption: 'Listeners', columns: COLUMNS, key: (row) => row.id, signal,
    nothing: () => empty('No listeners', 'No client can connect: add [[listeners]] to the config and start the broker again.'),
  });
  return {
    title: 'Listeners',
    lead: ['Where clients connect. They are set in the ', h('a', { href: href(['config']) }, 'configuration'), '.'],
    content: [h('section', { class: 'panel' }, list.element)],
  };
}
