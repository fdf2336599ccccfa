// The broker at a glance: what it does now and has done in the last ten minutes.

import { get } from '../lib/api.js';
import { h, show, write } from '../lib/dom.js';
import { bytes, count, latency, many, short, span } from '../lib/format.js';
import * as history from '../lib/history.js';
import { poll } from '../lib/poll.js';
import { href } from '../lib/router.js';
import { empty, failure, loading } from '../parts/states.js';
import { Table } from '../parts/table.js';
import { Tile } from '../parts/tile.js';

const rate = (value) => `${short(value)}/s`;
const traffic = (value) => `${bytes(value)}/s`;
const percent = (value) => `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`;

const TILES = [
  {
    title: 'Connections', format: count, floor: 5,
    series: [{ name: 'connected', read: (sample) => sample.connections }],
    note: () => {
      const { stats } = history.latest;
      return many(stats['sessions.offline.count'], 'session whose client is away', 'sessions whose clients are away');
    },
  },
  {
    title: 'Messages', format: rate, floor: 10,
    series: [{ name: 'in', read: (sample) => sample.messagesIn }, { name: 'out', read: (sample) => sample.messagesOut }],
    note: (sample) => `${count(sample.metrics['messages.received'])} in, ${count(sample.metrics['messages.sent'])} out since the start`,
  },
  {
    title: 'Traffic', format: traffic, floor: 1024, isBinary: true,
    series: [{ name: 'in', read: (sample) => sample.bytesIn }, { name: 'out', read: (sample) => sample.bytesOut }],
    note: (sample) => `${bytes(sample.metrics['bytes.received'])} in, ${bytes(sample.metrics['bytes.sent'])} out since the start`,
  },
  {
    title: 'Latency, PUBLISH to acknowledgement', format: latency, floor: 1e-3,
    series: [{ name: 'median', read: (sample) => sample.ack?.median ?? null }, { name: '99 %', read: (sample) => sample.ack?.high ?? null }],
    note: (sample) => (sample.ack ? `of ${count(sample.ack.count)} measured in 2 s` : 'no QoS 1 or 2 message was measured just now'),
  },
  {
    title: 'Latency, PUBLISH to subscriber', format: latency, floor: 1e-3,
    series: [{ name: 'median', read: (sample) => sample.delivery?.median ?? null }, { name: '99 %', read: (sample) => sample.delivery?.high ?? null }],
    note: (sample) => (sample.delivery ? `of ${count(sample.delivery.count)} measured in 2 s` : 'no delivery was measured just now'),
  },
  {
    title: 'Dropped messages', format: rate, floor: 1,
    series: [{ name: 'lost', read: (sample) => sample.lost }],
    note: dropNote,
  },
  {
    title: 'Waiting messages', format: count, floor: 10,
    series: [{ name: 'queued', read: (sample) => sample.waiting }, { name: 'in flight', read: (sample) => sample.inflight }],
    note: () => `${bytes(history.latest.stats['mqueue.bytes'])} in the queues of sessions`,
  },
  {
    title: 'Work queues', format: count, floor: 10,
    series: [{ name: 'messages', read: (sample) => sample.queued }, { name: 'dead letters', read: (sample) => sample.dead }],
    note: () => {
      const { count: queues, oldest_age_seconds: oldest } = history.latest.queues;
      return queues > 0 ? `${many(queues, 'queue', 'queues')}${oldest > 0 ? `, the oldest message for ${span(oldest)}` : ''}` : 'no queue is defined';
    },
  },
  {
    title: 'Memory', format: bytes, floor: 16 << 20, isBinary: true,
    series: [{ name: 'resident', read: (sample) => sample.memory }],
    note: () => `${count(history.latest.stats['process.fds.count'])} open descriptors of ${count(history.latest.stats['process.fds.max'])}`,
  },
  {
    title: 'CPU', format: percent, floor: 0.1,
    series: [{ name: 'of one core', read: (sample) => sample.cpu }],
    note: () => `of one core; ${count(history.latest.stats['process.threads.count'])} threads`,
  },
  {
    title: 'Disk', format: bytes, floor: 1 << 20, isBinary: true,
    series: [{ name: 'journal', read: (sample) => sample.disk }, { name: 'live', read: (sample) => sample.live }],
    note: () => `${count(history.latest.stats['retained.count'])} retained messages, ${bytes(history.latest.stats['retained.bytes'])}`,
  },
  {
    title: 'Disk sync', format: latency, floor: 1e-3,
    series: [{ name: 'median', read: (sample) => sample.sync?.median ?? null }, { name: '99 %', read: (sample) => sample.sync?.high ?? null }],
    note: (sample) => (sample.sync ? `${count(sample.sync.count)} in 2 s` : 'nothing was synced just now'),
  },
];

/** Which reasons there were, the most frequent first. */
function dropNote(sample) {
  const prefix = 'messages.dropped.';
  const reasons = Object.entries(sample.metrics)
    .filter(([name, many]) => name.startsWith(prefix) && many > 0 && !name.endsWith('.no_subscriber'))
    .sort(([, one], [, other]) => other - one)
    .slice(0, 3)
    .map(([name, many]) => `${name.slice(prefix.length).replaceAll('_', ' ')} ${count(many)}`);
  return reasons.length > 0 ? `since the start: ${reasons.join(', ')}` : 'none since the start';
}

const client = (row) => href(['clients', row.clientid], { mountpoint: row.mountpoint });

function ranking({ title, where, columns, nothing, signal }) {
  const table = new Table({
    caption: title, key: (row) => JSON.stringify([row.mountpoint, row.clientid]),
    columns: [{ label: 'Client', kind: 'is-name', text: (row) => row.clientid, link: client }, ...columns],
  });
  const body = h('div', { class: 'table-box' }, loading());
  poll(() => get(where, { limit: 5 }, signal), {
    signal,
    show: ({ data }) => {
      table.show(data);
      show(body, data.length > 0 ? table.element : nothing);
    },
    fail: (error) => {
      if (body.firstChild !== table.element) show(body, failure(error));
    },
  });
  return h('section', { class: 'panel' }, h('div', { class: 'panel-head' }, h('h2', {}, title)), body);
}

export function open({ signal }) {
  const tiles = TILES.map((tile) => new Tile(tile));
  const waiting = loading('Asking for the figures');
  const unready = h('p', { class: 'fault', role: 'alert', hidden: true });
  const grid = h('div', { class: 'tiles' }, tiles.map((tile) => tile.element));
  grid.hidden = true;
  const draw = () => {
    waiting.remove();
    grid.hidden = false;
    const { ready, waiting_for: causes } = history.latest.status;
    write(unready, ready ? '' : `Not ready for clients. It waits for: ${causes.join(', ')}.`);
    unready.hidden = ready;
    tiles.forEach((tile) => tile.update(history.samples));
  };
  history.events.addEventListener('sample', draw, { signal });
  if (history.latest !== null) draw();
  const rankings = h('div', { class: 'columns is-loose' },
    ranking({
      title: 'Slow subscribers', where: '/slow_subscriptions', signal,
      columns: [
        { label: 'Blocked', kind: 'is-number', text: (row) => (row.blocked_ms > 0 ? span(row.blocked_ms / 1000) : 'no') },
        { label: 'Waiting', kind: 'is-number', text: (row) => count(row.mqueue_len) },
        { label: 'Unwritten', kind: 'is-number', text: (row) => bytes(row.unwritten_bytes) },
      ],
      nothing: empty('Nobody is slow', 'Every connected client takes what it is sent.'),
    }),
    ranking({
      title: 'Top talkers', where: '/top_talkers', signal,
      columns: [
        { label: 'Now', kind: 'is-number', text: (row) => traffic(row.recv_rate) },
        { label: 'Since it connected', kind: 'is-number', text: (row) => bytes(row.recv_oct) },
      ],
      nothing: empty('Nobody has sent anything yet'),
    }));
  return { title: 'Overview', content: [waiting, unready, grid, rankings] };
}
