// What the broker runs with, and the few things that can be changed while it does.

import { get, patch, post, put, remove } from '../lib/api.js';
import { button, h, show } from '../lib/dom.js';
import { bytes, time } from '../lib/format.js';
import { may } from '../lib/session.js';
import { ask, confirm, tell } from '../parts/dialog.js';
import { control, textField } from '../parts/form.js';
import { pagedList } from '../parts/list.js';
import { empty, failure, loading } from '../parts/states.js';
import { facts } from './client.js';

/** Sections as the file has them, each with its keys: `[name, [[key, text, value]]]`. */
function sections(table, name = '') {
  const isSection = (value) => (Array.isArray(value) ? value.length > 0 && value.every(isTable) : isTable(value));
  const keys = Object.entries(table).filter(([, value]) => !isSection(value)).map(([key, value]) => [key, written(value), value]);
  const inner = Object.entries(table).filter(([, value]) => isSection(value)).flatMap(([key, value]) => {
    const path = name ? `${name}.${key}` : key;
    return Array.isArray(value) ? value.flatMap((one) => sections(one, `[${path}]`)) : sections(value, path);
  });
  return keys.length > 0 ? [[name, keys], ...inner] : inner;
}

function isTable(value) {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function written(value) {
  return typeof value === 'string' && value !== '' ? value : JSON.stringify(value);
}

/** A merge patch that gives one key a value. */
function patchOf(key, value) {
  return key.split('.').reduceRight((inner, name) => ({ [name]: inner }), value);
}

/** What was typed, as the kind of value that is there now; a text stays one. */
function typed(text, current) {
  if (typeof current === 'string') return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function changeKey(key, current) {
  return ask({
    title: 'Change this key?',
    content: [
      h('p', {}, h('code', {}, key)),
      textField('Value', 'value', {
        value: typeof current === 'string' ? current : JSON.stringify(current), kind: 'is-wide',
        hint: 'It holds at once and over restarts, until it is taken back.',
      }),
    ],
    action: 'Change it',
    submit: async (form) => {
      await patch('/config', patchOf(key, typed(form.get('value'), current)));
      tell(`${key} is changed.`);
    },
  });
}

function takeBack(key) {
  return confirm({
    title: 'Take the change back?',
    text: `The config file says again what ${key} is.`,
    action: 'Take it back',
    danger: false,
    submit: async () => {
      await patch('/config', patchOf(key, null));
      tell(`${key} is as in the config file.`);
    },
  });
}

function takeAllBack() {
  return confirm({
    title: 'Take all changes back?',
    text: 'The config file says again what all keys are that were changed here or over the API.',
    action: 'Take them back',
    submit: async () => {
      const { taken_back: keys } = await remove('/config/overrides');
      tell(keys.length > 0 ? `As in the config file: ${keys.join(', ')}` : 'Nothing was changed.');
    },
  });
}

/** A value, whether it was changed over the API, and what can be done about that. */
function valueOf(key, value, current, { overridden, changeable }, reload) {
  const then = (action) => async () => { if (await action) reload(); };
  const isChanged = overridden.includes(key);
  const act = (label, action) => button(label, () => then(action())(), { kind: 'is-small', 'aria-label': `${label} ${key}` });
  return h('span', { class: 'config-value' }, h('code', {}, value),
    isChanged ? h('span', { class: 'badge is-warn' }, 'changed') : null,
    may('admin') && changeable.includes(key) ? act('Change', () => changeKey(key, current)) : null,
    may('admin') && isChanged ? act('Take back', () => takeBack(key)) : null);
}

function effective(config, wanted, overrides, reload) {
  const needle = wanted.trim().toLowerCase();
  const shown = sections(config).map(([name, keys]) => {
    const found = name.toLowerCase().includes(needle) ? keys : keys.filter(([key, value]) => `${key} ${value}`.toLowerCase().includes(needle));
    return [name, found];
  }).filter(([, keys]) => keys.length > 0);
  if (shown.length === 0) return empty('No key is like this');
  return shown.map(([name, keys]) => h('section', { class: 'config-section' },
    h('h2', {}, name ? `[${name}]` : 'Top level'),
    facts(keys.map(([key, value, current]) => [h('code', {}, key), valueOf(name ? `${name}.${key}` : key, value, current, overrides, reload)]))));
}

function logLevel(signal) {
  const field = textField('Level', 'level', { kind: 'is-wide', hint: 'As info, or dunlin=debug; until the config is read again. For longer, change log.level above.' });
  const input = control(field);
  get('/log_level', {}, signal).then(({ level }) => { input.value = level; }, () => {});
  const form = h('form', { class: 'fields' }, field,
    may('admin') ? h('button', { type: 'submit', class: 'button' }, 'Set') : null);
  input.readOnly = !may('admin');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    try {
      const { level } = await put('/log_level', { level: input.value });
      tell(`The log level is ${level} now.`);
    } catch (error) {
      tell(error.message, true);
    }
  });
  return form;
}

function reload() {
  return confirm({
    title: 'Read the config again?',
    text: 'As with SIGHUP: what can change while the broker runs does, and files of users, rights, keys and certificates are read anew. If anything is wrong, all stays as it is.',
    action: 'Read it again',
    danger: false,
    submit: async () => {
      const { needs_restart: later } = await post('/reload');
      tell(later.length > 0 ? `Read again. At the next start only: ${later.join(', ')}` : 'The config was read again.');
    },
  });
}

function backups(signal) {
  const list = pagedList({
    where: '/backups', caption: 'Backups', key: (row) => row.name, signal, limit: 10,
    columns: [
      { label: 'Name', kind: 'is-name', text: (row) => row.name },
      { label: 'State', kind: 'is-name', text: (row) => (row.error ? `${row.state}: ${row.error}` : row.state) },
      { label: 'Begun', kind: 'is-short', text: (row) => time(row.at) },
      { label: 'Copied', kind: 'is-number', text: (row) => `${bytes(row.bytes)} of ${bytes(row.bytes_total)}` },
    ],
    nothing: () => empty('No backup since the start'),
  });
  const begin = async () => {
    try {
      const { name } = await post('/backups');
      tell(`The backup ${name} has begun.`);
      list.refresh();
    } catch (error) {
      tell(error.message, true);
    }
  };
  return h('section', { class: 'panel' },
    h('div', { class: 'panel-head' }, h('h2', {}, 'Backups'), may('admin') ? h('div', { class: 'buttons' }, button('Begin a backup', begin, { kind: 'is-small' })) : null),
    list.element);
}

export function open({ signal }) {
  const body = h('div', { class: 'panel-body config' }, loading());
  let config = null;
  let overrides = null;
  const search = textField('Search', 'search', {
    type: 'search', kind: 'is-wide', placeholder: 'A key or a value', on: { input: (event) => config && draw(event.target.value) },
  });
  const draw = (wanted) => show(body, effective(config, wanted, overrides, load));
  const load = () => Promise.all([get('/config', {}, signal), get('/config/overrides', {}, signal)]).then(([answer, changes]) => {
    const { overridden: _, ...sections } = answer;
    config = sections;
    overrides = changes;
    draw(control(search).value);
  }, (error) => {
    if (!signal.aborted) show(body, failure(error, load));
  });
  load();
  const back = button('Take all changes back…', async () => { if (await takeAllBack()) load(); });
  const again = button('Read it again…', async () => { if (await reload()) load(); });
  return {
    title: 'Configuration',
    lead: 'What is in force: defaults, file, changes made here or over the API, environment and flags together. Secrets are masked.',
    buttons: may('admin') ? [back, again] : [],
    content: [
      h('section', { class: 'panel', 'aria-label': 'Config in force' }, h('div', { class: 'filters fields' }, search), body),
      h('div', { class: 'columns' },
        h('section', { class: 'panel' }, h('div', { class: 'panel-head' }, h('h2', {}, 'Log level')), h('div', { class: 'panel-body' }, logLevel(signal))),
        backups(signal)),
    ],
  };
}
