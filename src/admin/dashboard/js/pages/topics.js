// What is subscribed to: the filters, each once, and who holds which.

import { h, show } from '../lib/dom.js';
import { count, yes } from '../lib/format.js';
import { change, href } from '../lib/router.js';
import { control, settled, switchField, textField } from '../parts/form.js';
import { addressState, pagedList } from '../parts/list.js';
import { empty } from '../parts/states.js';

const VIEWS = [['filters', 'Filters'], ['subscriptions', 'Who holds them']];

function filters(state, signal) {
  return pagedList({
    where: '/topics', caption: 'Filters', state, signal, key: (row) => row.topic,
    query: ({ like }) => ({ like_topic: like }),
    columns: [
      { label: 'Filter', kind: 'is-name', text: (row) => row.topic, link: (row) => href(['topics'], { view: 'subscriptions', topic: row.topic }) },
      { label: 'Subscribers', kind: 'is-number', text: (row) => count(row.subscribers) },
    ],
    nothing: ({ like }) => (like ? empty('No filter is like this') : empty('Nobody has subscribed yet')),
  });
}

function subscriptions(state, signal) {
  return pagedList({
    where: '/subscriptions', caption: 'Subscriptions', state, signal, key: (row) => JSON.stringify([row.mountpoint, row.clientid, row.topic]),
    query: ({ topic, match }) => ({ topic, match_topic: match }),
    columns: [
      { label: 'Client identifier', kind: 'is-name', text: (row) => row.clientid, link: (row) => href(['clients', row.clientid], { mountpoint: row.mountpoint }) },
      { label: 'Filter', kind: 'is-name', text: (row) => row.topic },
      { label: 'QoS', kind: 'is-number', text: (row) => row.qos },
      { label: 'No Local', text: (row) => yes(row.nl) },
      { label: 'Retain as published', text: (row) => yes(row.rap) },
    ],
    nothing: ({ topic, match }) => (topic || match ? empty('Nobody has subscribed to that') : empty('Nobody has subscribed yet')),
  });
}

export function open({ params, signal }) {
  const state = addressState(['like', 'topic', 'match', 'page', 'cursor']);
  const panel = h('section', { class: 'panel' });
  let shown = new AbortController();

  function draw(isFilters, values) {
    shown.abort();
    shown = new AbortController();
    const until = AbortSignal.any([signal, shown.signal]);
    const list = isFilters ? filters(state, until) : subscriptions(state, until);
    const field = (label, name, placeholder) => {
      const search = settled(() => list.set({ [name]: control(made).value }));
      const made = textField(label, name, { kind: 'is-wide', type: 'search', value: values.get(name) ?? '', placeholder, on: { input: search } });
      return made;
    };
    const fields = isFilters
      ? [field('Search', 'like', 'Part of a filter')]
      : [field('Filter', 'topic', 'The whole filter'), field('Who would get', 'match', 'A topic, as site/7/temperature')];
    const form = h('form', { class: 'filters fields', role: 'search', on: { submit: (event) => event.preventDefault() } }, fields);
    show(panel, form, list.element);
  }

  const isFilters = (params.get('view') ?? 'filters') === 'filters';
  const view = switchField('Show', 'view', VIEWS, isFilters ? 'filters' : 'subscriptions', (wanted) => {
    change({ view: wanted, like: '', topic: '', match: '', page: '', cursor: '' });
    draw(wanted === 'filters', new URLSearchParams());
  });
  draw(isFilters, params);
  return { title: 'Subscriptions', buttons: [view], content: [panel] };
}
