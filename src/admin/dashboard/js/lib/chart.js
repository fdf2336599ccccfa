// A live line chart in SVG: one or two series over the last ten minutes, read by pointer or by arrow keys.

import { svg } from './dom.js';
import { clock } from './format.js';

/** As much as there is, within these. */
const SPAN_MIN_MS = 120_000;
const SPAN_MAX_MS = 600_000;
const HEIGHT = 92;
const TOP = 8;
const BOTTOM = 20;
/** Between two samples that are further apart there was no connection, and no line is drawn. */
const GAP_MS = 12_000;

export class Chart {
  /**
   * `series`: `[{ name, read(sample) }]`, where `read` may give `null`; `format` writes a value; `onLook(sample)` is told which sample
   * is looked at, `null` for the latest; `isBinary` is for what counts in KiB and MiB.
   */
  constructor({ label, series, format, floor = 0, isBinary = false, onLook }) {
    Object.assign(this, { label, series, format, floor, isBinary, onLook });
    this.samples = [];
    this.looked = null;
    this.width = 300;
    this.grid = svg('g', {});
    this.area = svg('path', { class: 'area' });
    this.lines = series.map((_, place) => svg('path', { class: `series-${place}` }));
    this.rule = svg('line', { class: 'rule', visibility: 'hidden' });
    this.element = svg('svg', { class: 'chart', role: 'img', tabindex: '0', 'aria-label': label },
      this.grid, this.area, ...[...this.lines].reverse(), this.rule);
    this.element.addEventListener('pointermove', (event) => this.lookAt(event));
    this.element.addEventListener('pointerleave', () => this.look(null));
    this.element.addEventListener('blur', () => this.look(null));
    this.element.addEventListener('keydown', (event) => this.step(event));
    new ResizeObserver(([entry]) => {
      this.width = Math.max(120, entry.contentRect.width);
      this.draw();
    }).observe(this.element);
  }

  update(samples) {
    this.samples = samples;
    if (this.looked !== null && !samples.includes(this.looked)) this.looked = null;
    this.draw();
  }

  draw() {
    const last = this.samples.at(-1);
    this.now = last?.at ?? Date.now();
    this.span = Math.min(SPAN_MAX_MS, Math.max(SPAN_MIN_MS, this.now - (this.samples[0]?.at ?? this.now)));
    const values = this.samples.flatMap((sample) => this.series.map(({ read }) => read(sample) ?? 0));
    this.top = ceiling(Math.max(this.floor, ...values), this.isBinary);
    this.drawGrid();
    this.lines.forEach((line, place) => line.setAttribute('d', this.path(this.series[place].read, false)));
    this.area.setAttribute('d', this.path(this.series[0].read, true));
    this.drawRule();
    this.describe(last);
  }

  x(at) {
    return this.width - 1 - ((this.now - at) / this.span) * (this.width - 2);
  }

  y(value) {
    return HEIGHT - BOTTOM - (value / this.top) * (HEIGHT - BOTTOM - TOP);
  }

  path(read, isArea) {
    const base = this.y(0).toFixed(1);
    let [text, before, begun] = ['', null, null];
    const close = () => {
      if (isArea && before !== null) text += `L${this.x(before).toFixed(1)} ${base}L${this.x(begun).toFixed(1)} ${base}Z`;
      [before, begun] = [null, null];
    };
    for (const sample of this.samples) {
      const value = read(sample);
      if (value === null || (before !== null && sample.at - before > GAP_MS)) close();
      if (value === null) continue;
      text += `${before === null ? 'M' : 'L'}${this.x(sample.at).toFixed(1)} ${this.y(value).toFixed(1)}`;
      begun ??= sample.at;
      before = sample.at;
    }
    close();
    return text;
  }

  drawGrid() {
    const lines = [0, 0.5, 1].map((part) => {
      const y = Math.round(this.y(this.top * part)) + 0.5;
      return svg('line', { class: 'grid', x1: 0, x2: this.width, y1: y, y2: y });
    });
    const texts = [
      svg('text', { x: 0, y: HEIGHT - 5 }, `${Math.round(this.span / 60_000)} min ago`),
      svg('text', { x: this.width, y: HEIGHT - 5, 'text-anchor': 'end' }, 'now'),
      svg('text', { x: 0, y: TOP + 11 }, this.format(this.top)),
    ];
    this.grid.replaceChildren(...lines, ...texts);
    this.element.setAttribute('viewBox', `0 0 ${this.width} ${HEIGHT}`);
  }

  drawRule() {
    const { rule, looked } = this;
    rule.setAttribute('visibility', looked === null ? 'hidden' : 'visible');
    if (looked === null) return;
    const x = Math.round(this.x(looked.at)) + 0.5;
    for (const [name, value] of [['x1', x], ['x2', x], ['y1', TOP], ['y2', HEIGHT - BOTTOM]]) rule.setAttribute(name, value);
  }

  describe(last) {
    const shown = this.looked ?? last;
    const values = shown === undefined ? [] : this.series.map(({ name, read }) => {
      const value = read(shown);
      return `${name} ${value === null ? 'not known' : this.format(value)}`;
    });
    const at = this.looked === null ? '' : ` at ${clock(this.looked.at)}`;
    this.element.setAttribute('aria-label', `${this.label}${at}: ${values.join(', ') || 'nothing yet'}`);
  }

  look(sample) {
    if (this.looked === sample) return;
    this.looked = sample;
    this.drawRule();
    this.describe(this.samples.at(-1));
    this.onLook(sample);
  }

  lookAt(event) {
    const box = this.element.getBoundingClientRect();
    const at = this.now - (1 - (event.clientX - box.left) / box.width) * this.span;
    const nearest = this.samples.reduce((best, sample) =>
      (best === null || Math.abs(sample.at - at) < Math.abs(best.at - at) ? sample : best), null);
    this.look(nearest);
  }

  step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined || this.samples.length === 0) {
      if (event.key === 'Escape') this.look(null);
      return;
    }
    event.preventDefault();
    const place = this.looked === null ? this.samples.length : this.samples.indexOf(this.looked);
    this.look(this.samples[Math.min(this.samples.length - 1, Math.max(0, place + by))]);
  }
}

/** The next round number: 1, 2 or 5 times a power of ten, in the unit that a binary number is written in. */
function ceiling(value, isBinary) {
  if (!(value > 0)) return 1;
  if (isBinary && value >= 1024) {
    const unit = 1024 ** Math.floor(Math.log2(value) / 10);
    return ceiling(value / unit, false) * unit;
  }
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((wanted) => wanted * power >= value * 0.999);
  return step * power;
}
