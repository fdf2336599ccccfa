// Other brokers that topics are shared with.

import { h } from '../lib/dom.js';
import { bytes, count } from '../lib/format.js';
import { pagedList } from '../parts/list.js';
import { empty } from '../parts/states.js';
import { badge } from './clients.js';

const DIRECTIONS = { in: 'in', out: 'out', both: 'both ways' };

/** `site/#` both ways, with the prefixes here and there if it has any. */
function topic({ filter, direction, local_prefix: here, remote_prefix: there }) {
  const prefixes = [here && `here under ${here}`, there && `there under ${there}`].filter(Boolean);
  return `${filter} ${DIRECTIONS[direction]}${prefixes.length > 0 ? ` (${prefixes.join(', ')})` : ''}`;
}

const dropped = (row) => Object.values(row.dropped_total).reduce((sum, one) => sum + one, 0);
const reasons = (row) => Object.entries(row.dropped_total).filter(([, many]) => many > 0).map(([reason, many]) => `${reason} ${count(many)}`).join(', ');

const COLUMNS = [
  { label: 'Name', kind: 'is-name', text: (row) => row.name },
  { label: 'State', kind: 'is-short', node: (row) => badge(row.connected) },
  { label: 'Other broker', kind: 'is-name', text: (row) => row.urls.join(', ') },
  { label: 'Topics', kind: 'is-name', text: (row) => row.topics.map(topic).join('; ') },
  { label: 'Waiting', kind: 'is-number', text: (row) => count(row.mqueue_len), title: (row) => bytes(row.mqueue_bytes) },
  { label: 'Sent', kind: 'is-number', text: (row) => count(row.sent_total) },
  { label: 'Received', kind: 'is-number', text: (row) => count(row.received_total) },
  { label: 'Dropped', kind: 'is-number', text: (row) => count(dropped(row)), title: reasons },
  { label: 'Reconnects', kind: 'is-number', text: (row) => count(row.reconnects_total) },
];

export function open({ signal }) {
  const list = pagedList({
    where: '/bridges', caption: 'Bridges', columns: COLUMNS, key: (row) => row.name, signal,
    nothing: () => empty('No bridges', 'A bridge shares topics with another broker: add [[bridges]] to the config and start the broker again.'),
  });
  return { title: 'Bridges', content: [h('section', { class: 'panel' }, list.element)] };
}
