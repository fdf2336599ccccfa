// Asks for an API key where the broker wants one.

import { get } from '../lib/api.js';
import { h } from '../lib/dom.js';
import * as session from '../lib/session.js';
import { control, textField } from '../parts/form.js';

export function signIn({ message, done }) {
  const field = textField('API key', 'key', {
    type: 'password', required: true, placeholder: 'NAME.SECRET', hint: 'Kept in this tab until it is closed, and sent to this broker only.',
  });
  const fault = h('p', { class: 'fault', role: 'alert' }, message);
  const submit = h('button', { type: 'submit', class: 'button is-main' }, 'Sign in');
  const form = h('form', { class: 'form', novalidate: true }, field, fault, submit);

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const key = control(field).value.trim();
    if (!key.includes('.')) {
      say('A key looks like NAME.SECRET.');
      return;
    }
    submit.disabled = true;
    session.keep(key);
    try {
      await get('/status');
      done();
    } catch (error) {
      // A refused key has led to a new form already.
      session.forget();
      say(error.message);
    } finally {
      submit.disabled = false;
    }
  });

  function say(text) {
    fault.textContent = text;
    control(field).setAttribute('aria-invalid', 'true');
    control(field).focus();
  }

  queueMicrotask(() => control(field).focus());
  document.title = 'Sign in – Dunlin';
  return h('main', { class: 'panel signin' },
    h('div', { class: 'brand' }, h('img', { src: 'icon.svg', alt: '' }), h('div', {}, h('strong', {}, 'Dunlin'), h('span', {}, 'MQTT broker'))),
    h('h1', {}, 'Sign in'),
    h('p', { class: 'muted' }, 'This broker asks for an API key. An administrator makes one with ', h('code', {}, 'dunlin apikey add'), '.'),
    form);
}
