// Publish and subscribe by hand, as a client over the broker's own WebSocket listener.

import { get } from '../lib/api.js';
import { button, h, show, write } from '../lib/dom.js';
import { bytes, clock, count } from '../lib/format.js';
import { readable } from '../lib/payload.js';
import { Client } from '../mqtt/client.js';
import { areaField, checkField, control, selectField, textField } from '../parts/form.js';
import { empty, failure, loading } from '../parts/states.js';

const KEPT = 500;
const QOS = [['0', '0'], ['1', '1']];
const SNIPPET = '[[listeners]]\nname = "websocket"\nurl = "ws://127.0.0.1:8083/mqtt"';

/** Addresses of the WebSocket listeners, as seen from this page. */
async function addresses(signal) {
  const [{ data }, config] = await Promise.all([get('/listeners', {}, signal), get('/config', {}, signal)]);
  return data.filter(({ type }) => type === 'ws' || type === 'wss').map(({ id, type, bind }) => {
    const url = (config.listeners ?? []).find(({ name }) => name === id)?.url ?? '';
    const path = url.replace(/^\w+:\/\/[^/]*/, '') || '/mqtt';
    const [, host, port] = bind.match(/^\[?([^\]]*?)\]?:(\d+)$/) ?? [];
    // Bound to all addresses, it is where this page came from.
    const isAny = host === undefined || host === '0.0.0.0' || host === '::';
    const name = isAny ? location.hostname : host.includes(':') ? `[${host}]` : host;
    return `${type}://${name}:${port}${path}`;
  });
}

function withoutListener() {
  return h('section', { class: 'panel' }, h('div', { class: 'state' },
    h('strong', {}, 'There is no WebSocket listener'),
    h('p', {}, 'The console speaks MQTT from this page, and pages can speak it over WebSocket only. Add a listener to the config and start the broker again:'),
    h('pre', { class: 'payload' }, SNIPPET)));
}

/** What came and what was sent, the latest first. */
class Messages {
  constructor() {
    this.list = h('ul', { class: 'log', role: 'log', 'aria-live': 'off', 'aria-label': 'Messages', tabindex: '0' });
    this.nothing = empty('No messages yet', 'Subscribe to a filter, as site/# or simply #, and what is published appears here.');
    this.status = h('span', { role: 'status', class: 'muted' });
    this.total = 0;
    this.element = h('section', { class: 'panel' },
      h('div', { class: 'panel-head' }, h('h2', {}, 'Messages'), this.status,
        h('div', { class: 'buttons' }, button('Clear', () => this.clear(), { kind: 'is-small' }))),
      this.nothing, this.list);
  }

  add({ topic, payload, qos, retain }) {
    const { kind, text } = readable(payload, true, false);
    this.nothing.remove();
    this.list.prepend(h('li', {},
      h('time', { class: 'muted' }, clock(Date.now(), true)),
      h('span', { class: 'muted' }, `QoS ${qos}${retain ? ', retained' : ''}`),
      h('div', { class: 'body' }, h('span', {}, topic), h('span', { class: 'muted' }, `  ${kind}, ${bytes(payload.length)}`), text ? h('pre', {}, text) : null)));
    while (this.list.children.length > KEPT) this.list.lastChild.remove();
    this.total += 1;
    write(this.status, `${count(this.total)} received${this.total > KEPT ? `, the last ${count(KEPT)} are shown` : ''}`);
  }

  clear() {
    this.list.replaceChildren();
    this.total = 0;
    write(this.status, '');
  }
}

function consoleOf(urls, signal) {
  let client = null;
  let isOpening = false;
  const filters = new Set();
  const messages = new Messages();
  const status = h('p', { role: 'status', class: 'muted' }, 'Not connected.');
  const held = h('ul', { class: 'buttons', 'aria-label': 'Subscriptions' });

  const url = textField('Address', 'url', { value: urls[0], kind: 'is-wide', required: true, hint: urls.length > 1 ? `Also: ${urls.slice(1).join(', ')}` : undefined });
  const id = textField('Client identifier', 'id', { value: `dashboard-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}` });
  const user = textField('User name', 'user', {});
  const password = textField('Password', 'password', { type: 'password' });
  const switcher = h('button', { type: 'submit', class: 'button is-main' }, 'Connect');
  const connection = h('form', { class: 'panel-body fields' }, url, id, user, password, switcher);

  const say = (text, isBad = false) => {
    write(status, text);
    status.className = isBad ? 'fault' : 'muted';
  };
  /** Runs what a form asks for; what goes wrong is told beside it. */
  const onSubmit = (form, run) => form.addEventListener('submit', async (event) => {
    event.preventDefault();
    try {
      await run();
    } catch (error) {
      say(error.message, true);
    }
  });

  function setConnected(isConnected) {
    switcher.textContent = isConnected ? 'Disconnect' : 'Connect';
    switcher.classList.toggle('is-main', !isConnected);
    for (const field of [url, id, user, password]) control(field).disabled = isConnected;
    for (const form of [subscription, publication]) form.querySelector('[type=submit]').disabled = !isConnected;
    if (!isConnected) {
      filters.clear();
      drawFilters();
    }
  }

  async function open() {
    say('Connecting…');
    const next = new Client({
      onMessage: (message) => messages.add(message),
      onClose: (why) => {
        if (client !== next) return;
        client = null;
        setConnected(false);
        say(why, why !== 'Disconnected.');
      },
    });
    const wanted = { clientId: control(id).value, userName: control(user).value, password: control(password).value };
    isOpening = true;
    const name = await next.open(control(url).value, wanted).finally(() => { isOpening = false; });
    if (signal.aborted) {
      next.close();
      return;
    }
    client = next;
    setConnected(true);
    say(`Connected as ${name}.`);
  }

  function drawFilters() {
    show(held, [...filters].map((filter) => h('li', {}, button(`${filter}  ×`, async () => {
      await client?.unsubscribe(filter).catch((error) => say(error.message, true));
      filters.delete(filter);
      drawFilters();
    }, { kind: 'is-small wrap', 'aria-label': `Unsubscribe from ${filter}` }))));
  }

  const filter = textField('Topic filter', 'filter', { kind: 'is-wide', value: '#', required: true });
  const filterQos = selectField('QoS', 'qos', QOS, { value: '0', kind: 'is-narrow' });
  const subscription = h('form', { class: 'fields' }, filter, filterQos, h('button', { type: 'submit', class: 'button' }, 'Subscribe'));

  const topic = textField('Topic', 'topic', { kind: 'is-wide', required: true, placeholder: 'site/7/command' });
  const qos = selectField('QoS', 'qos', QOS, { value: '1', kind: 'is-narrow' });
  const payload = areaField('Payload', 'payload');
  const retain = checkField('Retain', 'retain');
  const publication = h('form', { class: 'form' }, h('div', { class: 'fields' }, topic, qos), payload,
    h('div', { class: 'buttons' }, h('button', { type: 'submit', class: 'button' }, 'Publish'), retain));

  onSubmit(connection, async () => {
    if (client !== null) client.close();
    else if (!isOpening) await open();
  });
  onSubmit(subscription, async () => {
    const wanted = control(filter).value;
    await client.subscribe(wanted, Number(control(filterQos).value));
    filters.add(wanted);
    drawFilters();
    say(`Subscribed to ${wanted}.`);
  });
  onSubmit(publication, async () => {
    const message = {
      topic: control(topic).value, payload: new TextEncoder().encode(control(payload).value),
      qos: Number(control(qos).value), retain: retain.querySelector('input').checked,
    };
    if (message.topic === '') throw new Error('A message needs a topic.');
    say(`Published to ${message.topic}: ${await client.publish(message)}.`);
  });
  signal.addEventListener('abort', () => client?.close());
  setConnected(false);

  const panel = (title, ...content) => h('section', { class: 'panel' }, h('div', { class: 'panel-head' }, h('h2', {}, title)), content);
  return [
    panel('Connection', connection, h('div', { class: 'pager' }, status)),
    h('div', { class: 'columns' },
      panel('Subscribe', h('div', { class: 'panel-body form' }, subscription, held)),
      panel('Publish', h('div', { class: 'panel-body' }, publication))),
    messages.element,
  ];
}

export function open({ signal }) {
  const body = h('div', { class: 'stack' }, loading());
  const load = () => addresses(signal).then(
    (urls) => show(body, urls.length > 0 ? consoleOf(urls, signal) : withoutListener()),
    (error) => { if (!signal.aborted) show(body, failure(error, load)); },
  );
  load();
  return { title: 'Console', lead: 'A client of its own, with the rights of the user that it connects as.', content: [body] };
}
