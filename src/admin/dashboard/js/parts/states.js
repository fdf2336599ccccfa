// What stands where there is nothing to show: not yet, nothing at all, or a failure.

import { Unreachable } from '../lib/api.js';
import { button, h } from '../lib/dom.js';

export function loading(what = 'Loading') {
  return h('div', { class: 'state', role: 'status' }, `${what}…`);
}

export function empty(title, text) {
  return h('div', { class: 'state' }, h('strong', {}, title), text ? h('p', {}, text) : null);
}

/** `retry` may be missing where asking again would not help. */
export function failure(error, retry) {
  const isAway = error instanceof Unreachable;
  const title = isAway ? 'The broker does not answer' : titles[error.status] ?? 'That did not work';
  const text = isAway ? 'This goes on by itself once it is back.' : error.message;
  return h('div', { class: 'state', role: 'alert' },
    h('strong', {}, title), h('p', {}, text), retry && !isAway ? button('Try again', retry) : null);
}

const titles = {
  403: 'Not allowed with this key',
  404: 'Not there',
};
