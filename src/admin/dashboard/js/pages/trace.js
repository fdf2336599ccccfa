// What one client does, or what happens to some topics, as it happens.

import { Problem } from '../lib/api.js';
import { button, h, write } from '../lib/dom.js';
import { bytes, clock, count } from '../lib/format.js';
import { bytesOf, readable } from '../lib/payload.js';
import { change } from '../lib/router.js';
import { may } from '../lib/session.js';
import { follow } from '../lib/stream.js';
import { control, selectField, textField } from '../parts/form.js';
import { empty } from '../parts/states.js';

const KEPT = 1000;
const RETRY_MS = [1_000, 2_000, 5_000, 10_000];
const KINDS = [['clientid', 'Client identifier'], ['topic', 'Topic filter']];

function line({ at, clientid, peer, event, topic, qos, retain, payload_size: size, payload, detail }) {
  const parts = [
    h('span', {}, clientid), peer ? h('span', { class: 'muted' }, ` from ${peer}`) : null,
    topic === null ? null : h('span', {}, `  ${topic}`),
    qos === null ? null : h('span', { class: 'muted' }, `  QoS ${qos}${retain ? ', retain' : ''}, ${bytes(size)}`),
    detail ? h('span', { class: 'muted' }, `  ${detail}`) : null,
  ];
  const shown = payload === null ? '' : readable(bytesOf(payload), bytesOf(payload).length === size, false).text;
  return h('li', {}, h('time', { datetime: at, class: 'muted' }, clock(at, true)), h('span', { class: 'what' }, event),
    h('div', { class: 'body' }, parts, shown ? h('pre', {}, shown) : null));
}

function news(text) {
  return h('li', { class: 'is-news' }, h('time', {}, clock(Date.now(), true)), h('span', {}, ''), h('div', { class: 'body' }, text));
}

export function open({ params, signal }) {
  if (!may('operator')) return { title: 'Live trace', content: [h('section', { class: 'panel' }, empty('This takes an operator', 'Payloads of clients are shown here; the key that you signed in with may only look at figures.'))] };
  const isTopic = params.has('topic');
  const kind = selectField('Follow', 'kind', KINDS, { value: isTopic ? 'topic' : 'clientid', kind: 'is-narrow' });
  const what = textField('Which', 'what', { value: params.get('topic') ?? params.get('clientid') ?? '', kind: 'is-wide', required: true, placeholder: 'sensor-17, or site/7/#' });
  const start = h('button', { type: 'submit', class: 'button is-main' }, 'Follow');
  const status = h('p', { role: 'status', class: 'muted' }, 'Not following anything.');
  const log = h('ul', { class: 'log', role: 'log', 'aria-live': 'off', 'aria-label': 'Trace', tabindex: '0' });
  const nothing = empty('Nothing yet', 'What happens from now on appears here. A trace costs the broker nothing while there is none.');
  let running = null;
  let lines = 0;

  function add(item) {
    nothing.remove();
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(item);
    while (log.children.length > KEPT) log.firstChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }

  function onEvent(name, data) {
    const told = JSON.parse(data);
    if (name === 'line') {
      lines += 1;
      add(line(told));
      write(status, `Following. ${count(lines)} lines so far${lines > KEPT ? `, the last ${count(KEPT)} are shown` : ''}.`);
    } else if (name === 'dropped') {
      add(news(`${count(told.lines)} lines were left out: there was more than could be sent.`));
    }
  }

  function stop(text = 'Stopped.') {
    running?.abort();
    running = null;
    start.textContent = 'Follow';
    write(status, text);
  }

  /** A trace ends after some minutes, and with the connection: it is begun again until the reader stops it. */
  async function run(query) {
    const mine = new AbortController();
    running = mine;
    start.textContent = 'Stop';
    let failures = 0;
    while (!mine.signal.aborted) {
      try {
        write(status, 'Connecting…');
        await follow('/trace', query, mine.signal, () => {
          failures = 0;
          write(status, 'Following.');
        }, onEvent);
      } catch (error) {
        if (mine.signal.aborted) return;
        if (error instanceof Problem && error.status !== 503) {
          stop(error.message);
          return;
        }
        const pause = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
        failures += 1;
        write(status, `${error.message} Trying again in ${pause / 1000} s.`);
        await new Promise((resolve) => { setTimeout(resolve, pause); });
      }
    }
  }

  const form = h('form', { class: 'filters fields' }, kind, what, h('div', { class: 'buttons' }, start,
    button('Clear', () => { log.replaceChildren(); lines = 0; })));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (running !== null) {
      stop();
      return;
    }
    const [name, wanted] = [control(kind).value, control(what).value];
    if (wanted === '') {
      control(what).focus();
      return;
    }
    change({ clientid: '', topic: '', [name]: wanted });
    run({ [name]: wanted });
  });
  signal.addEventListener('abort', () => stop());
  if (params.has('clientid') || params.has('topic')) queueMicrotask(() => form.requestSubmit());
  return {
    title: 'Live trace',
    content: [h('section', { class: 'panel' }, form, h('div', { class: 'panel-head' }, status), nothing, log)],
  };
}
