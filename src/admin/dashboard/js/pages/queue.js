// One work queue: its figures, its consumers, what waits, and its dead letters with their stories.

import { get, path } from '../lib/api.js';
import { button, h, show } from '../lib/dom.js';
import { NONE, ago, bytes, clock, count, span, time, yes } from '../lib/format.js';
import { bytesOf, excerpt, readable } from '../lib/payload.js';
import { poll } from '../lib/poll.js';
import { href } from '../lib/router.js';
import { may } from '../lib/session.js';
import { show as showDialog } from '../parts/dialog.js';
import { pagedList } from '../parts/list.js';
import { pauseQueue, purgeQueue, redrive, removeFromQueue, resumeQueue, unblockQueue } from '../parts/queue_actions.js';
import { empty, failure, loading } from '../parts/states.js';
import { Table } from '../parts/table.js';
import { facts } from './client.js';
import { oldest, queueBadge } from './queues.js';

const REASONS = {
  'max-deliveries': 'Tried as often as the queue allows',
  rejected: 'Rejected as not worth another attempt',
  expired: 'Outlived its time',
  'queue-full': 'Made room in a full queue',
};

const payloadOf = (row) => (row.payload_base64 ? bytesOf(row.payload_base64) : new TextEncoder().encode(row.payload ?? ''));
const hexCode = (code) => `0x${code.toString(16).padStart(2, '0')}`;

/** How a message died, in a sentence. */
export function story({ dead }) {
  const { reason, attempts, last_client: client, last_code: code } = dead;
  const tries = attempts === 1 ? '1 attempt' : `${count(attempts)} attempts`;
  const last = client ? `, last with ${client}${code === null ? '' : `, which answered ${hexCode(code)}`}` : '';
  return `${REASONS[reason] ?? reason}: ${attempts > 0 ? tries : 'no attempt'}${last}.`;
}

function figures({ messages, dead_letters: dead, counters, paused }) {
  return facts([
    ['Delivery', paused ? 'paused: no message leaves' : 'running'],
    ['Depth', `${count(messages.depth)} (${bytes(messages.bytes)})`],
    ['Ready', count(messages.ready)], ['Leased', count(messages.leased)], ['Delayed', count(messages.delayed)],
    ['Oldest', oldest(messages) || NONE],
    ['Keys', `${count(messages.keys)}, ${count(messages.blocked_keys)} blocked`],
    ['Consumers', count(messages.consumers)],
    ['Dead letters', `${count(dead.depth)}${dead.depth > 0 ? `, the oldest for ${oldest(dead)}` : ''}`],
    ['Since the start', `${count(counters.enqueued)} came, ${count(counters.delivered)} deliveries, ${count(counters.settled)} settled, ${count(counters.rejected)} not taken`],
  ]);
}

function settings(queue) {
  const pairs = Object.entries(queue.config).filter(([key]) => key !== 'name');
  const written = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
  return facts([['From', queue.origin], ...pairs.map(([key, value]) => [h('code', {}, key), h('code', {}, written(value))])]);
}

function attempts({ attempts: many, last_client: client, last_code: code }) {
  return [['Attempts', count(many)], ['Last client', client ?? NONE], ['Last code', code === null ? NONE : hexCode(code)]];
}

/** A message in full, in a dialog. */
function showMessage(row) {
  const { kind, text } = readable(payloadOf(row));
  const user = row.user_properties.map(([name, value]) => [name, value]);
  showDialog({
    title: `Message ${row.seq}`,
    content: [
      row.dead ? h('p', {}, story(row)) : null,
      kind === 'empty' ? h('p', { class: 'muted' }, 'The payload is empty.') : h('pre', { class: 'payload', tabindex: '0', 'aria-label': 'Payload' }, text),
      facts([
        ['Topic', row.topic], ['QoS', row.qos], ['Payload', `${kind}, ${bytes(row.size)} in the queue`],
        ['Came', time(row.enqueued_at)], ...(row.dead ? [['Died', time(row.dead.at)]] : attempts(row)),
        ['Expires', row.expires_at === null ? 'never' : time(row.expires_at)], ...user,
      ]),
    ],
  });
}

const small = (label, action, row, kind = '') => button(label, action, { kind: `is-small ${kind}`, 'aria-label': `${label}: message ${row.seq}` });

/** Messages of a queue, alive or dead, with what can be done to each. */
function messages({ queue, isDead, query, signal, changed }) {
  const where = `/queues${path(queue)}/${isDead ? 'dead_letters' : 'messages'}`;
  const actions = (row) => h('div', { class: 'buttons' },
    small('Look', () => showMessage(row), row),
    isDead && may('operator') ? small('Redrive', async () => { if (await redrive(queue, query, row.seq)) changed(); }, row) : null,
    may('operator') ? small('Delete', async () => { if (await removeFromQueue(queue, query, row, isDead)) changed(); }, row, 'is-danger') : null);
  const alive = [
    { label: 'State', kind: 'is-short', text: (row) => (row.until === null ? row.status : `${row.status} until ${clock(row.until)}`) },
    { label: 'Attempts', kind: 'is-number', text: (row) => count(row.attempts) },
    { label: 'Came', kind: 'is-short', text: (row) => ago(row.enqueued_at), title: (row) => time(row.enqueued_at) },
  ];
  const dead = [
    { label: 'Story', kind: 'is-story', text: story },
    { label: 'Died', kind: 'is-short', text: (row) => ago(row.dead.at), title: (row) => time(row.dead.at) },
  ];
  return pagedList({
    where, caption: isDead ? 'Dead letters' : 'Messages', key: (row) => row.seq, query: () => query, signal, limit: 20, byCursor: true,
    columns: [
      { label: 'Number', kind: 'is-number', text: (row) => row.seq },
      { label: 'Topic', kind: 'is-name', text: (row) => row.topic },
      ...(isDead ? dead : alive),
      { label: 'Payload', kind: 'is-name', text: (row) => excerpt(payloadOf(row), true, 80) },
      { label: 'Actions', kind: 'is-actions', node: actions },
    ],
    nothing: () => (isDead
      ? empty('No dead letters', 'Messages that were tried in vain as often as the queue allows come here.')
      : empty('The queue is empty', 'All that came is settled.')),
  });
}

function consumers(query) {
  const table = new Table({
    caption: 'Consumers', key: (row, place) => `${row.clientid} ${place}`,
    columns: [
      { label: 'Client identifier', kind: 'is-name', text: (row) => row.clientid, link: (row) => href(['clients', row.clientid], query) },
      { label: 'Online', text: (row) => yes(row.is_online) },
      { label: 'Of', kind: 'is-short', text: (row) => (row.is_of_dead ? 'dead letters' : 'messages') },
      { label: 'QoS', kind: 'is-number', text: (row) => row.qos },
      { label: 'Unsettled', kind: 'is-number', text: (row) => count(row.unsettled) },
    ],
  });
  const body = h('div', { class: 'table-box' });
  return {
    element: body,
    show(all) {
      table.show(all.slice(0, 100));
      if (all.length === 0) show(body, empty('No consumers', 'A client works on the queue by subscribing to $queue/NAME.'));
      else show(body, table.element, all.length > 100 ? h('p', { class: 'pager' }, `and ${count(all.length - 100)} more`) : '');
    },
  };
}

const panel = (title, body, buttons) => h('section', { class: 'panel' },
  h('div', { class: 'panel-head' }, h('h2', {}, title), buttons ? h('div', { class: 'buttons' }, buttons) : null), body);

export function open({ args: [name], params, signal }) {
  const query = { mountpoint: params.get('mountpoint') ?? '' };
  const top = h('div', { class: 'columns' }, loading());
  const rest = h('div', { class: 'stack', hidden: true });
  const shown = h('div', { class: 'panel-body' });
  const set = h('div', { class: 'panel-body config-section' });
  const state = h('div', {});
  const held = consumers(query);
  let queue = null;
  const changed = () => {
    refresh();
    waiting.refresh();
    dead.refresh();
  };
  const act = (label, run, kind) => button(label, async () => { if (await run(queue)) changed(); }, { kind });
  const waiting = messages({ queue: name, isDead: false, query, signal, changed: () => changed() });
  const dead = messages({ queue: name, isDead: true, query, signal, changed: () => changed() });
  const pause = act('Pause', () => pauseQueue(name, query));
  const resume = act('Resume', () => resumeQueue(name, query), 'is-main');
  const unblock = act('Let blocked keys go on', () => unblockQueue(name, query));
  const purge = act('Purge…', () => purgeQueue(name, query, queue.messages.depth, false), 'is-danger is-small');
  const purgeDead = act('Purge…', () => purgeQueue(name, query, queue.dead_letters.depth, true), 'is-danger is-small');
  const redriveAll = act('Redrive all…', () => redrive(name, query, null, queue.dead_letters.depth), 'is-small');
  rest.append(
    panel('Dead letters', dead.element, may('operator') ? [redriveAll, purgeDead] : null),
    panel('Messages', waiting.element, may('operator') ? [purge] : null),
    panel('Settings', set));

  const refresh = poll(() => get(`/queues${path(name)}`, query, signal), {
    signal,
    show: (answer) => {
      queue = answer;
      show(state, queueBadge(queue));
      pause.hidden = queue.paused;
      resume.hidden = !queue.paused;
      unblock.hidden = queue.messages.blocked_keys === 0;
      purge.disabled = queue.messages.depth === 0;
      purgeDead.disabled = queue.dead_letters.depth === 0;
      redriveAll.disabled = queue.dead_letters.depth === 0;
      show(shown, figures(queue));
      show(set, settings(queue));
      held.show(queue.consumers);
      if (rest.hidden) show(top, panel('Figures', shown), panel('Consumers', held.element));
      rest.hidden = false;
    },
    fail: (error) => {
      rest.hidden = error.status === 404 || queue === null;
      if (error.status === 404) show(top, empty('There is no such queue', 'It was deleted, or never was here.'));
      else if (queue === null) show(top, failure(error, () => refresh()));
    },
  });
  [resume, unblock].forEach((element) => { element.hidden = true; });
  return {
    title: name,
    buttons: may('operator') ? [pause, resume, unblock] : [],
    content: [h('div', { class: 'page-head' }, h('a', { href: href(['queues']) }, 'All queues'), state), top, rest],
  };
}
