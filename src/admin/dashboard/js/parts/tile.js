// A figure with its chart.

import { h, write } from '../lib/dom.js';
import { NONE, clock } from '../lib/format.js';
import { Chart } from '../lib/chart.js';

/**
 * `series`: `[{ name, read(sample) }]`; with one of them the name is not shown. `note(sample)` is a line below, `title` the heading.
 */
export class Tile {
  constructor({ title, series, format, floor, isBinary, note = () => '' }) {
    Object.assign(this, { series, format, note });
    this.looked = null;
    this.values = series.map(() => h('b', {}, NONE));
    this.noteElement = h('p', { class: 'tile-note' });
    this.chart = new Chart({ label: title, series, format, floor, isBinary, onLook: (sample) => this.look(sample) });
    const values = this.values.map((value, place) => h('span', { class: 'value' }, value,
      series.length > 1 ? h('span', { class: 'key' }, series[place].name) : null));
    this.element = h('section', { class: 'panel tile', 'aria-label': title },
      h('h2', {}, title), h('div', { class: 'values' }, values), this.chart.element, this.noteElement);
  }

  update(samples) {
    this.latest = samples.at(-1);
    this.chart.update(samples);
    this.draw();
  }

  look(sample) {
    this.looked = sample;
    this.draw();
  }

  draw() {
    const sample = this.looked ?? this.latest;
    if (sample === undefined) return;
    this.series.forEach(({ read }, place) => {
      const value = read(sample);
      write(this.values[place], value === null ? NONE : this.format(value));
    });
    write(this.noteElement, this.looked ? `at ${clock(this.looked.at)}` : this.note(this.latest));
  }
}
