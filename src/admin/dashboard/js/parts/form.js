// Fields with their labels.

import { h, unique } from '../lib/dom.js';

function labelled(label, control, { hint, kind = '' }) {
  const note = hint ? h('span', { class: 'hint', id: unique('hint') }, hint) : null;
  if (note) control.setAttribute('aria-describedby', note.id);
  return h('div', { class: `field ${kind}` }, h('label', { for: control.id }, label), control, note);
}

/** One line of text. Clients' names are no words: nothing is corrected or remembered. */
export function textField(label, name, { value = '', hint, kind, type = 'text', on, ...attributes } = {}) {
  const input = h('input', {
    id: unique(name), name, type, class: 'input', value, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', on,
    ...attributes,
  });
  return labelled(label, input, { hint, kind });
}

export function areaField(label, name, { value = '', hint, kind } = {}) {
  const area = h('textarea', { id: unique(name), name, class: 'input', value, spellcheck: 'false', autocapitalize: 'none' });
  return labelled(label, area, { hint, kind });
}

/** `options`: `[[value, text]]`. */
export function selectField(label, name, options, { value = '', hint, kind, on } = {}) {
  const select = h('select', { id: unique(name), name, class: 'input', on },
    options.map(([option, text]) => h('option', { value: option }, text)));
  select.value = value;
  return labelled(label, select, { hint, kind });
}

export function checkField(label, name, { checked = false } = {}) {
  return h('label', { class: 'check' }, h('input', { type: 'checkbox', name, checked }), label);
}

/** One of a few, all of them to be seen. */
export function switchField(label, name, options, value, onChange) {
  const group = unique(name);
  const choices = options.map(([option, text]) => h('label', {},
    h('input', { type: 'radio', name: group, value: option, checked: option === value, on: { change: () => onChange(option) } }), text));
  return h('fieldset', { class: 'switch' }, h('legend', { class: 'unseen' }, label), choices);
}

/** The control inside of a field. */
export function control(field) {
  return field.querySelector('input, select, textarea');
}

/** Calls `action` when nothing was typed for a moment. */
export function settled(action, milliseconds = 300) {
  let timer = null;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), milliseconds);
  };
}
