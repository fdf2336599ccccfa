// One client: its connection, its session, what it subscribed to and what waits for it.

import { get, path } from '../lib/api.js';
import { button, h, show } from '../lib/dom.js';
import { NONE, ago, bytes, count, span, time, yes } from '../lib/format.js';
import { bytesOf, excerpt } from '../lib/payload.js';
import { poll } from '../lib/poll.js';
import { go, href } from '../lib/router.js';
import { may } from '../lib/session.js';
import { ban, disconnect, discard } from '../parts/actions.js';
import { pagedList } from '../parts/list.js';
import { empty, failure, loading } from '../parts/states.js';
import { badge } from './clients.js';

const FOR_EVER = 4294967295;
const VERSIONS = { 3: '3.1', 4: '3.1.1', 5: '5.0' };

export function facts(pairs) {
  return h('dl', { class: 'facts' }, pairs.flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value ?? NONE)]));
}

function meter(value, most, format = count) {
  const text = most > 0 ? `${format(value)} of ${format(most)}` : format(value);
  const bar = most > 0 ? h('progress', { max: most, value, 'aria-hidden': 'true' }) : null;
  return h('div', { class: 'meter' }, h('span', {}, text), bar);
}

function connection(client) {
  if (!client.connected) {
    return facts([
      ['State', badge(false)],
      ['Away since', client.disconnected_at ? `${time(client.disconnected_at)} (${ago(client.disconnected_at)})` : 'the broker was started'],
      ['Last reason', reason(client)],
      ['Session ends', client.expires_at ? time(client.expires_at) : 'never'],
    ]);
  }
  return facts([
    ['State', badge(true)],
    ['Since', `${time(client.connected_at)} (${ago(client.connected_at)})`],
    ['Address', client.ip_address ? `${client.ip_address}, port ${client.port}` : 'a Unix socket'],
    ['Listener', client.listener],
    ['Protocol', `MQTT ${VERSIONS[client.proto_ver] ?? client.proto_ver}`],
    ['Keep alive', client.keepalive > 0 ? span(client.keepalive) : 'off'],
    ['Last packet', ago(client.last_received_at)],
    ['Received', `${bytes(client.recv_oct)}, ${bytes(client.recv_rate)}/s now`],
    ['Not taken yet', bytes(client.unwritten_bytes)],
    ['Last time', reason(client)],
  ]);
}

/** Why the connection before ended, and who ended it. */
function reason(client) {
  if (client.last_reason === null || client.last_reason === undefined) return 'not known: there was no connection before';
  const code = `0x${client.last_reason_code.toString(16).padStart(2, '0')}`;
  return `${client.last_reason} (${code}), ended by the ${client.last_ended_by}`;
}

function session(client) {
  return facts([
    ['User', client.username ?? 'none'],
    ['Mount point', client.mountpoint || 'none'],
    ['Survives a restart', yes(client.durable)],
    ['Expiry', client.expiry_interval === FOR_EVER ? 'never' : span(client.expiry_interval)],
    ['Will', client.has_will ? 'yes' : 'none'],
    ['Subscriptions', meter(client.subscriptions_cnt, client.subscriptions_max)],
    ['Waiting', meter(client.mqueue_len, client.mqueue_max)],
    ['Waiting bytes', meter(client.mqueue_bytes, client.mqueue_bytes_max, bytes)],
    ['In flight', meter(client.inflight_cnt, client.inflight_max)],
    ['QoS 2 not released', count(client.awaiting_rel_cnt)],
  ]);
}

function payload(row) {
  if (row.payload === null || row.payload === undefined) return row.on_disk ? 'on disk' : '';
  return excerpt(bytesOf(row.payload), bytesOf(row.payload).length === row.payload_size);
}

const MESSAGE = [
  { label: 'Topic', kind: 'is-name', text: (row) => row.topic ?? NONE },
  { label: 'QoS', kind: 'is-number', text: (row) => row.qos ?? NONE },
  { label: 'Size', kind: 'is-number', text: (row) => bytes(row.payload_size ?? row.bytes) },
  { label: 'Payload', kind: 'is-name', text: payload },
];

const RETAIN_HANDLING = ['at each subscribe', 'if new', 'never'];

function lists(where, query, signal) {
  const panel = (title, list) => h('section', { class: 'panel' }, h('div', { class: 'panel-head' }, h('h2', {}, title)), list.element);
  const common = { query: () => query, signal, limit: 20 };
  return [
    panel('Subscriptions', pagedList({
      ...common, where: `${where}/subscriptions`, caption: 'Subscriptions', key: (row) => row.topic,
      columns: [
        { label: 'Filter', kind: 'is-name', text: (row) => row.topic },
        { label: 'QoS', kind: 'is-number', text: (row) => row.qos },
        { label: 'No Local', text: (row) => yes(row.nl) },
        { label: 'Retain as published', text: (row) => yes(row.rap) },
        { label: 'Retained messages', kind: 'is-short', text: (row) => RETAIN_HANDLING[row.rh] },
        { label: 'Identifier', kind: 'is-number', text: (row) => row.subid ?? NONE },
      ],
      nothing: () => empty('No subscriptions', 'The client only publishes, or has not subscribed yet.'),
    })),
    panel('In flight', pagedList({
      ...common, where: `${where}/inflight`, caption: 'Messages in flight', key: (row, place) => `${row.packet_id} ${place}`,
      columns: [{ label: 'Packet', kind: 'is-number', text: (row) => row.packet_id }, { label: 'State', text: (row) => row.state }, ...MESSAGE],
      nothing: () => empty('Nothing is under way', 'All that was sent is acknowledged.'),
    })),
    panel('Queue', pagedList({
      ...common, where: `${where}/queue`, caption: 'Waiting messages', key: (row, place) => place,
      columns: [{ label: 'Place', kind: 'is-number', text: (row) => count(row.position + 1) }, ...MESSAGE],
      nothing: () => empty('Nothing waits', 'Messages wait here while the client is away or its window is full.'),
    })),
  ];
}

export function open({ args: [id], params, signal }) {
  const query = { mountpoint: params.get('mountpoint') ?? '' };
  const where = `/clients${path(id)}`;
  const body = h('div', { class: 'columns' }, loading());
  const rest = h('div', { class: 'stack', hidden: true });
  let client = null;
  let isFirst = true;

  const refresh = poll(() => get(where, query, signal), {
    signal,
    show: (answer) => {
      client = answer;
      show(body,
        h('section', { class: 'panel', 'aria-label': 'Connection' }, h('div', { class: 'panel-head' }, h('h2', {}, 'Connection')), h('div', { class: 'panel-body' }, connection(client))),
        h('section', { class: 'panel', 'aria-label': 'Session' }, h('div', { class: 'panel-head' }, h('h2', {}, 'Session')), h('div', { class: 'panel-body' }, session(client))));
      buttons.forEach(({ element, isFor }) => { element.disabled = !isFor(client); });
      if (isFirst) rest.append(...lists(where, query, signal));
      rest.hidden = false;
      isFirst = false;
    },
    fail: (error) => {
      if (error.status === 404) {
        show(body, empty('There is no such client', 'Its session has ended, or it never was here.'));
        rest.hidden = true;
        buttons.forEach(({ element }) => { element.disabled = true; });
      } else if (client === null) {
        show(body, failure(error, refresh));
      }
    },
  });

  const action = (label, run, isFor, kind = 'is-danger') => ({
    element: button(label, async () => { if (await run(client)) refresh(); }, { kind, disabled: true }), isFor,
  });
  const buttons = may('operator') ? [
    action('Follow live', () => go(['trace'], { clientid: id }), () => true, ''),
    action('Disconnect', disconnect, (known) => known.connected),
    action('End session', discard, () => true),
    action('Ban', (known) => ban({ clientid: known.clientid, username: known.username, peerhost: known.ip_address }), () => true),
  ] : [];
  return {
    title: id,
    buttons: buttons.map(({ element }) => element),
    content: [h('p', {}, h('a', { href: href(['clients']) }, 'All clients')), body, rest],
  };
}
