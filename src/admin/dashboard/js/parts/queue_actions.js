// What an operator does to work queues: each asks first, and says what came of it.

import { path, post, remove } from '../lib/api.js';
import { count } from '../lib/format.js';
import { ask, confirm, tell } from './dialog.js';
import { textField } from './form.js';
import { h } from '../lib/dom.js';

const of = (queue) => `/queues${path(queue)}`;
const messages = (many) => (many === 1 ? '1 message' : `${count(many)} messages`);

export function pauseQueue(queue, query) {
  return confirm({
    title: `Pause ${queue}?`,
    text: 'No message leaves until it is resumed. What consumers have they may still settle, and new messages still come in.',
    action: 'Pause',
    danger: false,
    submit: async () => {
      await post(`${of(queue)}/pause`, {}, query);
      tell(`${queue} is paused.`);
    },
  });
}

export function resumeQueue(queue, query) {
  return confirm({
    title: `Resume ${queue}?`,
    text: 'Messages leave again at once.',
    action: 'Resume',
    danger: false,
    submit: async () => {
      await post(`${of(queue)}/resume`, {}, query);
      tell(`${queue} is running again.`);
    },
  });
}

export function unblockQueue(queue, query) {
  return confirm({
    title: `Let blocked keys of ${queue} go on?`,
    text: 'They stand still because a message of theirs died. Those behind it will be delivered without it.',
    action: 'Let them go on',
    submit: async () => {
      const { count: keys } = await post(`${of(queue)}/unblock`, {}, query);
      tell(`${count(keys)} keys go on.`);
    },
  });
}

/** One dead letter by its number, or all `depth` of them. */
export function redrive(queue, query, seq, depth = 1) {
  const isOne = seq !== null;
  return confirm({
    title: isOne ? `Put message ${seq} back into ${queue}?` : `Put all dead letters back into ${queue}?`,
    text: [
      `${isOne ? 'It is' : `${messages(depth)} are`} delivered as if never tried before: attempts begin at 1.`,
      'If what they failed for still holds, they will be back here.',
    ],
    action: isOne ? 'Redrive' : 'Redrive all',
    danger: false,
    submit: async () => {
      const { count: many } = await post(`${of(queue)}/redrive`, isOne ? { seq } : {}, query);
      tell(`${messages(many)} put back into ${queue}.`);
    },
  });
}

export function removeFromQueue(queue, query, row, isDead) {
  return confirm({
    title: `Delete message ${row.seq}?`,
    text: [`Topic: ${row.topic}`, 'It is gone for good; no consumer will get it.'],
    action: 'Delete',
    submit: async () => {
      await remove(`${of(queue)}/${isDead ? 'dead_letters' : 'messages'}/${row.seq}`, query);
      tell(`Message ${row.seq} was deleted.`);
    },
  });
}

/** All of them, which takes the queue's name written out. */
export function purgeQueue(queue, query, depth, isDead) {
  const what = isDead ? 'dead letters' : 'messages';
  return ask({
    title: `Purge ${isDead ? 'the dead letters of ' : ''}${queue}?`,
    content: [
      h('p', {}, `About ${count(depth)} ${what} are thrown away, and those that come until then. This cannot be undone.`),
      textField(`Write ${queue} to go on`, 'name', { required: true }),
    ],
    action: `Purge ${what}`,
    danger: true,
    submit: async (form) => {
      if (form.get('name') !== queue) throw new Error(`That is not ${queue}.`);
      const { count: many } = await remove(`${of(queue)}/${isDead ? 'dead_letters' : 'messages'}`, query);
      tell(`${messages(many)} thrown away.`);
    },
  });
}
