// What the broker runs with, and the few things that can be changed while it does.

import { get, post, put } from '../lib/api.js';
import { button, h, show } from '../lib/dom.js';
import { bytes, time } from '../lib/format.js';
import { may } from '../lib/session.js';
import { confirm, tell } from '../parts/dialog.js';
import { control, textField } from '../parts/form.js';
import { pagedList } from '../parts/list.js';
import { empty, failure, loading } from '../parts/states.js';
import { facts } from './client.js';

/** Sections as the file has them, each with its keys: `[name, [[key, value]]]`. */
function sections(table, name = '') {
  const isSection = (value) => (Array.isArray(value) ? value.length > 0 && value.every(isTable) : isTable(value));
  const keys = Object.entries(table).filter(([, value]) => !isSection(value)).map(([key, value]) => [key, written(value)]);
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

function effective(config, wanted) {
  const needle = wanted.trim().toLowerCase();
  const shown = sections(config).map(([name, keys]) => {
    const found = name.toLowerCase().includes(needle) ? keys : keys.filter(([key, value]) => `${key} ${value}`.toLowerCase().includes(needle));
    return [name, found];
  }).filter(([, keys]) => keys.length > 0);
  if (shown.length === 0) return empty('No key is like this');
  return shown.map(([name, keys]) => h('section', { class: 'config-section' },
    h('h2', {}, name ? `[${name}]` : 'Top level'), facts(keys.map(([key, value]) => [h('code', {}, key), h('code', {}, value)]))));
}

function logLevel(signal) {
  const field = textField('Level', 'level', { kind: 'is-wide', hint: 'As info, or dunlin=debug; until the config is read again.' });
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
  const search = textField('Search', 'search', {
    type: 'search', kind: 'is-wide', placeholder: 'A key or a value', on: { input: (event) => config && show(body, effective(config, event.target.value)) },
  });
  const load = () => get('/config', {}, signal).then((answer) => {
    config = answer;
    show(body, effective(config, control(search).value));
  }, (error) => {
    if (!signal.aborted) show(body, failure(error, load));
  });
  load();
  const again = button('Read it again…', async () => { if (await reload()) load(); });
  return {
    title: 'Configuration',
    lead: 'What is in force: defaults, file, environment and flags together. Secrets are masked.',
    buttons: may('admin') ? [again] : [],
    content: [
      h('section', { class: 'panel', 'aria-label': 'Config in force' }, h('div', { class: 'filters fields' }, search), body),
      h('div', { class: 'columns' },
        h('section', { class: 'panel' }, h('div', { class: 'panel-head' }, h('h2', {}, 'Log level')), h('div', { class: 'panel-body' }, logLevel(signal))),
        backups(signal)),
    ],
  };
}
