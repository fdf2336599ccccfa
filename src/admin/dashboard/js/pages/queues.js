// The work queues: what is in them, who works on them, what died.

import { h } from '../lib/dom.js';
import { count, span } from '../lib/format.js';
import { href } from '../lib/router.js';
import { control, settled, textField } from '../parts/form.js';
import { addressState, pagedList } from '../parts/list.js';
import { empty } from '../parts/states.js';

/** What is to be said of a queue first; the worst comes first. */
export function queueBadge({ paused, messages, dead_letters: dead }) {
  if (dead.depth > 0) return h('span', { class: 'badge is-bad' }, 'has dead letters');
  if (paused) return h('span', { class: 'badge is-warn' }, 'paused');
  if (messages.blocked_keys > 0) return h('span', { class: 'badge is-warn' }, 'keys are blocked');
  if (messages.depth > 0 && messages.consumers === 0) return h('span', { class: 'badge is-warn' }, 'no consumer');
  return h('span', { class: 'badge' }, 'in order');
}

/** The age of the oldest message; of none, nothing. */
export function oldest({ depth, oldest_age_ms: age }) {
  return depth > 0 ? span(age / 1000) : '';
}

const COLUMNS = [
  { label: 'Queue', kind: 'is-name', text: (row) => row.name, link: (row) => href(['queues', row.name], { mountpoint: row.mountpoint }) },
  { label: 'State', kind: 'is-short', node: queueBadge },
  { label: 'Depth', kind: 'is-number', text: (row) => count(row.messages.depth) },
  { label: 'Ready', kind: 'is-number', text: (row) => count(row.messages.ready) },
  { label: 'Leased', kind: 'is-number', text: (row) => count(row.messages.leased) },
  { label: 'Delayed', kind: 'is-number', text: (row) => count(row.messages.delayed) },
  { label: 'Oldest', kind: 'is-number', text: (row) => oldest(row.messages) },
  { label: 'Consumers', kind: 'is-number', text: (row) => count(row.messages.consumers) },
  { label: 'Dead letters', kind: 'is-number', text: (row) => count(row.dead_letters.depth) },
];

export function open({ params, signal }) {
  const list = pagedList({
    where: '/queues', caption: 'Queues', columns: COLUMNS, key: (row) => `${row.mountpoint} ${row.name}`, signal,
    state: addressState(['like', 'page', 'cursor']),
    query: ({ like }) => ({ like_name: like }),
    nothing: ({ like }) => (like
      ? empty('No queue is called like this')
      : empty('No work queues yet', 'Define one with [[queues]] in the config, or with dunlin queue create; messages to its bound topics, and to $put/NAME, are then stored until a consumer settles them.')),
  });
  const search = textField('Search', 'like', {
    type: 'search', kind: 'is-wide', placeholder: 'Part of a name', value: params.get('like') ?? '',
    on: { input: settled(() => list.set({ like: control(search).value })) },
  });
  return {
    title: 'Queues',
    content: [h('section', { class: 'panel' },
      h('form', { class: 'filters fields', role: 'search', on: { submit: (event) => event.preventDefault() } }, search), list.element)],
  };
}
