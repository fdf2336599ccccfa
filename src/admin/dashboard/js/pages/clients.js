// Who is connected, or has a session here.

import { h } from '../lib/dom.js';
import { ago, count, time } from '../lib/format.js';
import { href } from '../lib/router.js';
import { control, selectField, settled, textField } from '../parts/form.js';
import { addressState, pagedList } from '../parts/list.js';
import { empty } from '../parts/states.js';

const STATES = [['', 'all'], ['connected', 'connected'], ['disconnected', 'away']];

export function badge(isConnected) {
  return h('span', { class: `badge ${isConnected ? '' : 'is-off'}` }, isConnected ? 'connected' : 'away');
}

const COLUMNS = [
  {
    label: 'Client identifier', kind: 'is-name', sort: 'clientid',
    text: (row) => row.clientid, link: (row) => href(['clients', row.clientid], { mountpoint: row.mountpoint }),
  },
  { label: 'State', kind: 'is-short', node: (row) => badge(row.connected) },
  { label: 'User', kind: 'is-name', text: (row) => row.username ?? '' },
  { label: 'Address', kind: 'is-short', text: (row) => row.ip_address ?? '' },
  {
    label: 'Since', kind: 'is-short', sort: 'connected_at',
    text: (row) => ago(row.connected ? row.connected_at : row.disconnected_at), title: (row) => time(row.connected_at ?? row.disconnected_at),
  },
  { label: 'Subscriptions', kind: 'is-number', sort: 'subscriptions_cnt', text: (row) => count(row.subscriptions_cnt) },
  { label: 'Waiting', kind: 'is-number', sort: 'mqueue_len', text: (row) => count(row.mqueue_len) },
  { label: 'In flight', kind: 'is-number', sort: 'inflight_cnt', text: (row) => count(row.inflight_cnt) },
];

export function open({ params, signal }) {
  const state = addressState(['like', 'user', 'state', 'sort', 'order', 'page', 'cursor']);
  const type = settled(() => list.set({ like: control(search).value, user: control(user).value }));
  const search = textField('Search', 'like', {
    kind: 'is-wide', type: 'search', value: params.get('like') ?? '', placeholder: 'Part of a client identifier', on: { input: type },
  });
  const user = textField('User name', 'user', { type: 'search', value: params.get('user') ?? '', placeholder: 'Part of it', on: { input: type } });
  const which = selectField('State', 'state', STATES, {
    value: params.get('state') ?? '', kind: 'is-narrow', on: { change: (event) => list.set({ state: event.target.value }) },
  });
  const list = pagedList({
    where: '/clients', caption: 'Clients', columns: COLUMNS, key: (row) => JSON.stringify([row.mountpoint, row.clientid]), state, signal,
    ascendingOnly: ['clientid'],
    query: ({ like, user: name, state: wanted, sort, order }) => ({
      like_clientid: like, like_username: name, conn_state: wanted, sort: sort || 'clientid', order: order || 'asc',
    }),
    nothing: ({ like, user: name, state: wanted }) => (like || name || wanted
      ? empty('No client is like this', 'Letters must be the same, upper and lower case too.')
      : empty('No client yet', 'Clients appear here when they connect, and stay as long as their session does.')),
  });
  return {
    title: 'Clients',
    content: [h('section', { class: 'panel' },
      h('form', { class: 'filters fields', role: 'search', on: { submit: (event) => event.preventDefault() } }, search, user, which), list.element)],
  };
}
