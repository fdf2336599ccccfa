// The retained messages as a tree, opened level by level, and one of them.

import { get, path } from '../lib/api.js';
import { button, h, show } from '../lib/dom.js';
import { NONE, bytes, count, span } from '../lib/format.js';
import { bytesOf, readable } from '../lib/payload.js';
import { change, href } from '../lib/router.js';
import { may } from '../lib/session.js';
import { forgetRetained } from '../parts/actions.js';
import { empty, failure, loading } from '../parts/states.js';
import { facts } from './client.js';

/** Levels that are shown at once; more come on demand. */
const PAGE = 100;

/** The branches below a topic (`null` for the first level). */
function branches(under, context) {
  const list = h('ul', { role: 'list' });
  const more = button('Show more', () => load(), { kind: 'is-small is-plain', hidden: true });
  const box = h('div', {}, list, more);
  let cursor = null;

  async function load() {
    const waiting = loading();
    box.append(waiting);
    try {
      const query = { limit: PAGE, cursor };
      // An empty level has a name too: it must be sent, though it is empty.
      const where = under === '' ? '/retained_levels?under=' : '/retained_levels';
      const { data, meta } = await get(where, { ...query, under }, context.signal);
      list.append(...data.map((level) => branch(level, context)));
      cursor = meta.cursor;
      more.hidden = !meta.hasnext;
      if (list.children.length === 0) show(box, context.nothing());
    } catch (error) {
      if (!context.signal.aborted) show(box, failure(error, () => { show(box, list, more); load(); }));
    } finally {
      waiting.remove();
    }
  }

  load();
  return box;
}

function branch({ level, topic, has_message: hasMessage, below }, context) {
  const name = level === '' ? '(empty level)' : level;
  const line = h('div', { class: 'branch' });
  const item = h('li', {}, line);
  if (below > 0) {
    const opener = h('button', { type: 'button', class: 'opener', 'aria-expanded': 'false' }, name);
    let inner = null;
    opener.addEventListener('click', () => {
      const isOpen = opener.getAttribute('aria-expanded') === 'true';
      opener.setAttribute('aria-expanded', String(!isOpen));
      inner ??= branches(topic, context);
      if (isOpen) inner.remove();
      else item.append(inner);
    });
    line.append(opener, h('span', { class: 'muted' }, `${count(below)} below`));
  } else {
    line.append(h('span', { class: 'leaf is-end' }, name));
  }
  if (hasMessage) {
    line.append(h('a', { href: href(['retained'], { topic }), 'aria-label': `Message of ${topic}`, on: { click: (event) => context.open(event, topic) } }, 'message'));
  }
  return item;
}

/** One retained message in full. */
function message(topic, { signal, onDeleted }) {
  const body = h('div', { class: 'panel-body' }, loading());
  const head = h('div', { class: 'panel-head' }, h('h2', { class: 'wrap', tabindex: '-1' }, topic));
  if (may('operator')) {
    const remove = button('Delete', async () => { if (await forgetRetained(topic)) onDeleted(); }, { kind: 'is-danger is-small' });
    head.append(h('div', { class: 'buttons' }, remove));
  }
  get(`/retained${path(topic)}`, {}, signal).then((answer) => show(body, whole(answer)), (error) => {
    if (!signal.aborted) show(body, error.status === 404 ? empty('There is no retained message of this topic') : failure(error));
  });
  return h('section', { class: 'panel', 'aria-label': 'Retained message' }, head, body);
}

function whole(answer) {
  const { kind, text } = readable(bytesOf(answer.payload));
  const properties = answer.properties ?? {};
  const user = Object.entries(properties.user_properties ?? {}).map(([name, value]) => [name, value]);
  const optional = [
    ['Content type', properties.content_type], ['Response topic', properties.response_topic],
    ['Correlation data', properties.correlation_data && readable(bytesOf(properties.correlation_data)).text], ...user,
  ];
  return h('div', { class: 'form' },
    kind === 'empty' ? h('p', { class: 'muted' }, 'The payload is empty.') : h('pre', { class: 'payload', tabindex: '0', 'aria-label': 'Payload' }, text),
    facts([
      ['Payload', kind === 'empty' ? 'empty' : `${kind}, ${bytes(answer.payload_size)}`],
      ['QoS', answer.qos],
      ['From', answer.from_clientid ?? 'the broker or its operator'],
      ['User', answer.from_username ?? NONE],
      ['Expires in', answer.message_expiry_interval === null ? 'never' : span(answer.message_expiry_interval)],
      ...optional.filter(([, value]) => value),
    ]));
}

export function open({ params, signal }) {
  const side = h('div', { 'aria-live': 'polite' });
  const tree = h('div', { class: 'panel-body tree' });
  const nothingChosen = () => h('section', { class: 'panel' }, empty('No message chosen', 'Open the tree and choose a message to see its payload.'));

  const context = {
    signal,
    nothing: () => empty('No retained messages', 'A message that is published with the retain flag stays here for later subscribers.'),
    open(event, topic) {
      event.preventDefault();
      change({ topic });
      choose(topic);
      side.scrollIntoView({ block: 'nearest' });
      side.querySelector('h2')?.focus();
    },
  };
  const choose = (topic) => show(side, message(topic, {
    signal,
    onDeleted: () => {
      change({ topic: '' });
      show(side, nothingChosen());
      draw();
    },
  }));
  const draw = () => show(tree, branches(null, context));

  const chosen = params.get('topic');
  if (chosen) choose(chosen);
  else show(side, nothingChosen());
  draw();
  return {
    title: 'Retained messages',
    buttons: [button('Refresh', draw)],
    content: [h('div', { class: 'columns is-loose' },
      h('section', { class: 'panel', 'aria-label': 'Topics' }, h('div', { class: 'panel-head' }, h('h2', {}, 'Topics')), tree), side)],
  };
}
