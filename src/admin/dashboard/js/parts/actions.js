// What an operator does to clients, bans and messages: each asks first, and says what came of it.

import { path, post, remove } from '../lib/api.js';
import { h } from '../lib/dom.js';
import { confirm, ask, tell } from './dialog.js';
import { control, selectField, textField } from './form.js';

const place = (client) => ({ mountpoint: client.mountpoint });

export function disconnect(client) {
  return confirm({
    title: `Disconnect ${client.clientid}?`,
    text: 'Its connection ends; its session and what waits in it stay. Most clients connect again at once.',
    action: 'Disconnect',
    submit: async () => {
      await remove(`/clients${path(client.clientid)}`, place(client));
      tell(`${client.clientid} was disconnected.`);
    },
  });
}

export function discard(client) {
  return confirm({
    title: `End the session of ${client.clientid}?`,
    text: [
      'Its connection ends, and with it its subscriptions and all messages that wait for it.',
      'This cannot be undone.',
    ],
    action: 'End session',
    submit: async () => {
      await remove(`/sessions${path(client.clientid)}`, place(client));
      tell(`The session of ${client.clientid} has ended.`);
    },
  });
}

const KINDS = [['clientid', 'Client identifier'], ['username', 'User name'], ['peerhost', 'Address']];
const SPANS = [['3600', '1 hour'], ['86400', '1 day'], ['604800', '1 week'], ['', 'for ever']];

/** `known`: what may be banned by, as `{ clientid, username, peerhost }`; what is empty there cannot be chosen from it. */
export function ban(known = {}) {
  const first = KINDS.find(([kind]) => known[kind])?.[0] ?? 'clientid';
  const who = textField('Who', 'who', { value: known[first] ?? '', required: true });
  const kind = selectField('By', 'as', KINDS, {
    value: first,
    on: { change: (event) => { if (known[event.target.value]) control(who).value = known[event.target.value]; } },
  });
  return ask({
    title: 'Ban',
    content: [
      h('p', { class: 'muted' }, 'It ends the connections that it applies to, and refuses new ones.'),
      h('div', { class: 'fields' }, kind, selectField('For', 'seconds', SPANS, { value: '3600' })),
      who,
      textField('Reason', 'reason', { hint: 'For colleagues and the log.', maxlength: 256 }),
    ],
    action: 'Ban',
    danger: true,
    submit: async (form) => {
      const seconds = form.get('seconds');
      const body = { as: form.get('as'), who: form.get('who'), reason: form.get('reason') };
      await post('/banned', seconds === '' ? body : { ...body, seconds: Number(seconds) });
      tell(`${body.who} is banned.`);
    },
  });
}

export function unban(entry) {
  return confirm({
    title: `Let ${entry.who} in again?`,
    text: 'The ban is taken away; the next CONNECT is not refused for it.',
    action: 'Take away the ban',
    danger: false,
    submit: async () => {
      await remove(`/banned${path(entry.as, entry.who)}`);
      tell(`The ban on ${entry.who} is gone.`);
    },
  });
}

export function forgetRetained(topic) {
  return confirm({
    title: 'Delete the retained message?',
    text: [`Topic: ${topic}`, 'New subscribers will not get it any more. Those that have it keep it.'],
    action: 'Delete',
    submit: async () => {
      await remove(`/retained${path(topic)}`);
      tell(`The retained message of ${topic} is gone.`);
    },
  });
}
