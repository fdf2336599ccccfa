// A list of the API in pages: asked for again and again, sorted and cut by the broker, never here.

import { get } from '../lib/api.js';
import { button, h, show } from '../lib/dom.js';
import { count } from '../lib/format.js';
import { poll } from '../lib/poll.js';
import { change, here } from '../lib/router.js';
import { empty, failure, loading } from './states.js';
import { Table } from './table.js';

export const PAGE = 50;
/** How far pages may reach; behind that the list goes on by cursor. */
const REACH = 100_000;

/** What of a list stands in the address: it survives a reload, and can be sent to a colleague. */
export function addressState(names) {
  const of = (params) => Object.fromEntries(names.map((name) => [name, params.get(name) ?? '']));
  return { all: () => of(here().params), set: (changes) => change(changes) };
}

/** What stands nowhere, for small lists inside of a page. */
export function localState() {
  const values = {};
  return { all: () => values, set: (changes) => Object.assign(values, changes) };
}

/**
 * A panel with table and pages. `query(state)` gives the parameters for `where`; `state` has `page`, `cursor`, `sort`, `order` and
 * whatever the filters put there. `nothing(state)` is shown for an empty list. `byCursor`: the list moves on, and has no page numbers.
 */
export function pagedList({
  where, caption, columns, key, query = () => ({}), state = localState(), nothing, signal, limit = PAGE, ascendingOnly = [], least,
  byCursor = false,
  map = (answer) => answer, onAnswer = () => {},
}) {
  const body = h('div', { class: 'table-box' });
  const status = h('span', { role: 'status' });
  const previous = button('Previous', () => turn(-1), { kind: 'is-small' });
  const next = button('Next', () => turn(1), { kind: 'is-small' });
  const pager = h('nav', { class: 'pager', 'aria-label': `Pages: ${caption}`, hidden: true },
    status, h('div', { class: 'buttons' }, previous, next));
  const table = new Table({ caption, columns, key, onSort: sortBy });
  let meta = null;
  let trail = [];

  function sortBy(by) {
    const { sort, order } = state.all();
    const isDescending = sort === by && order !== 'desc' && !ascendingOnly.includes(by);
    const isFirst = sort !== by && !ascendingOnly.includes(by) && by !== 'connected_at';
    set({ sort: by, order: isDescending || isFirst ? 'desc' : 'asc' });
  }

  function set(changes) {
    trail = [];
    state.set({ page: '', cursor: '', ...changes });
    refresh();
  }

  function turn(by) {
    const { page = '', cursor = '' } = state.all();
    const number = Number(page || 1);
    if (by > 0 && (byCursor || cursor || (number + 1) * limit > REACH)) {
      trail.push({ page, cursor });
      state.set({ page: number + 1, cursor: meta.cursor });
    } else if (by < 0 && trail.length > 0) {
      state.set(trail.pop());
    } else {
      state.set({ page: Math.max(1, number + by), cursor: '' });
    }
    refresh();
  }

  async function load() {
    const all = state.all();
    const number = Number(all.page || 1);
    const place = all.cursor ? { cursor: all.cursor } : { page: number };
    const answer = map(await get(where, { limit, ...place, ...query(all) }, signal));
    return { answer, number, all };
  }

  function showAnswer({ answer, number, all }) {
    meta = answer.meta;
    onAnswer(answer);
    table.setSort({ by: all.sort, isDescending: all.order === 'desc' });
    table.show(answer.data);
    const hasRows = answer.data.length > 0;
    if (!hasRows) show(body, nothing ? nothing(all) : empty('Nothing here'));
    else if (body.firstChild !== table.element) show(body, table.element);
    const first = (number - 1) * limit + 1;
    const last = first + answer.data.length - 1;
    const of = meta.count === undefined ? '' : ` of ${count(meta.count)}`;
    const text = hasRows ? `${count(first)}–${count(last)}${of}` : '';
    if (status.textContent !== text) status.textContent = text;
    pager.hidden = !meta.hasnext && number === 1;
    previous.disabled = number === 1;
    next.disabled = !meta.hasnext;
  }

  function fail(error) {
    // What was there stays, as long as only the link is gone.
    if (body.firstChild !== table.element || error.status) {
      show(body, failure(error, refresh));
      pager.hidden = true;
    }
  }

  show(body, loading());
  const refresh = poll(load, { signal, show: showAnswer, fail, ...(least ? { least } : {}) });
  return { element: h('div', {}, body, pager), refresh, set };
}
