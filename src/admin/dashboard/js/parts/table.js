// A table whose rows are kept while their data changes, so that focus and selection stay where they are.

import { h, write } from '../lib/dom.js';

/**
 * Columns are `{ label, kind, text(row), link(row), title(row), node(row), sort }`: `text` is shown as such, as a link if `link` gives an
 * address; `node` makes something else, once for each row and again when the row changes. `kind` is a class: is-number, is-name,
 * is-short, is-actions.
 */
export class Table {
  constructor({ caption, columns, key, sort, onSort }) {
    Object.assign(this, { columns, key, onSort });
    this.rows = new Map();
    this.body = h('tbody', { role: 'rowgroup' });
    this.heads = columns.map((column) => this.head(column));
    // A table that is shown as cards must be told to be a table.
    this.element = h('table', { class: 'table', role: 'table' }, h('caption', { class: 'unseen' }, caption),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, this.heads)), this.body);
    if (sort) this.setSort(sort);
  }

  head(column) {
    const { label, kind = '', sort } = column;
    const content = sort
      ? h('button', { type: 'button', class: 'sorter', on: { click: () => this.onSort(sort) } }, label)
      : h('span', { class: kind === 'is-actions' ? 'unseen' : '' }, label);
    return h('th', { scope: 'col', role: 'columnheader', class: kind }, content);
  }

  setSort({ by, isDescending }) {
    this.columns.forEach((column, place) => {
      if (!column.sort) return;
      const state = column.sort === by ? (isDescending ? 'descending' : 'ascending') : 'none';
      this.heads[place].setAttribute('aria-sort', state);
    });
  }

  show(data) {
    const kept = new Map();
    data.forEach((entry, place) => {
      const key = this.key(entry, place);
      const row = this.rows.get(key) ?? { cells: [], element: null, was: null };
      this.fill(row, entry);
      kept.set(key, row);
    });
    this.rows = kept;
    const wanted = [...kept.values()].map((row) => row.element);
    const isSame = wanted.length === this.body.children.length && wanted.every((row, place) => row === this.body.children[place]);
    if (!isSame) this.body.replaceChildren(...wanted);
  }

  fill(row, entry) {
    const now = JSON.stringify(entry);
    if (row.element === null) {
      row.cells = this.columns.map((column, place) => cell(column, place === 0));
      row.element = h('tr', { role: 'row' }, row.cells);
    }
    this.columns.forEach((column, place) => {
      if (column.node) {
        if (row.was !== now) row.cells[place].replaceChildren(column.node(entry) ?? '');
      } else {
        fillText(row.cells[place], column, entry);
      }
    });
    row.was = now;
  }
}

function cell({ label, kind = '' }, isFirst) {
  const attributes = { class: kind, 'data-label': kind === 'is-actions' ? null : label };
  return isFirst
    ? h('th', { scope: 'row', role: 'rowheader', ...attributes })
    : h('td', { role: 'cell', ...attributes });
}

function fillText(place, column, entry) {
  const link = column.link?.(entry);
  if (!place.firstElementChild) place.append(link ? h('a', { class: 'wrap' }) : h('span', { class: 'wrap' }));
  const inner = place.firstElementChild;
  if (link) inner.setAttribute('href', link);
  const title = column.title?.(entry);
  if (title) inner.setAttribute('title', title);
  write(inner, column.text(entry));
}
