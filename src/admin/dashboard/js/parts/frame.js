// What is around a page: navigation, who asks, the theme, and whether the broker answers.

import { isConnected, link } from '../lib/api.js';
import { button, h, show, write } from '../lib/dom.js';
import { span } from '../lib/format.js';
import * as history from '../lib/history.js';
import { href } from '../lib/router.js';
import * as session from '../lib/session.js';
import * as theme from '../lib/theme.js';
import { switchField } from './form.js';

const THEMES = [['light', 'Light'], ['auto', 'Auto'], ['dark', 'Dark']];

export class Frame {
  /** `pages`: `[{ name, label }]`. */
  constructor(app, pages, signOut) {
    this.app = app;
    this.skip = h('a', { class: 'skip', href: '#main', on: { click: (event) => this.skipTo(event) } }, 'Skip to the content');
    this.links = new Map(pages.map(({ name, label }) => [name, h('a', { href: href([name]) }, label)]));
    this.node = h('span', {}, 'connecting');
    this.version = h('p', { class: 'muted' });
    this.who = h('p', { class: 'muted wrap' });
    this.signOut = button('Sign out', signOut, { kind: 'is-small' });
    this.menu = button('Menu', () => this.setOpen(!this.isOpen), { kind: 'menu-button', 'aria-expanded': 'false' });
    this.side = this.makeSide();
    this.banner = h('div', { class: 'banner', hidden: true });
    this.alert = h('p', { role: 'alert' });
    this.countdown = h('span', { class: 'muted' });
    this.banner.append(this.alert, this.countdown, button('Try now', () => history.attempt(), { kind: 'is-small' }));
    this.main = h('main', { class: 'main', id: 'main' });
    app.append(this.side, h('div', {}, this.banner, this.main));
    link.addEventListener('lost', () => this.drawLink());
    link.addEventListener('back', () => this.drawLink());
    history.events.addEventListener('sample', () => this.drawBroker());
    setInterval(() => this.drawCountdown(), 500);
  }

  makeSide() {
    const brand = h('div', { class: 'brand' }, h('img', { src: 'icon.svg', alt: '' }), h('div', {}, h('strong', {}, 'Dunlin'), this.node));
    const nav = h('nav', { class: 'nav', 'aria-label': 'Pages' }, h('ul', {}, [...this.links.values()].map((item) => h('li', {}, item))));
    nav.addEventListener('click', (event) => {
      if (event.target.closest('a')) this.setOpen(false);
    });
    const foot = h('div', { class: 'side-foot' },
      switchField('Colours', 'theme', THEMES, theme.choice(), theme.choose), this.version, this.who, this.signOut);
    return h('header', { class: 'side' }, h('div', { class: 'side-top' }, brand, this.menu), nav, foot);
  }

  setOpen(wanted) {
    this.isOpen = wanted;
    this.side.classList.toggle('is-open', wanted);
    this.menu.setAttribute('aria-expanded', String(wanted));
  }

  setCurrent(name) {
    for (const [known, item] of this.links) {
      if (known === name) item.setAttribute('aria-current', 'page');
      else item.removeAttribute('aria-current');
    }
  }

  /** `{ title, lead, buttons, content }` of a page. Reading begins at its heading. */
  show({ title, lead, buttons = [], content }) {
    const isFirst = this.heading === undefined;
    const isSame = this.heading?.textContent === title;
    this.heading = h('h1', { tabindex: '-1' }, title);
    document.title = `${title} – Dunlin`;
    const head = h('div', { class: 'page-head' }, this.heading,
      buttons.length > 0 ? h('div', { class: 'buttons' }, buttons) : null, lead ? h('p', {}, lead) : null);
    show(this.main, h('div', { class: 'page' }, head, content));
    this.drawLink();
    if (!isFirst && !isSame) {
      window.scrollTo(0, 0);
      this.heading.focus();
    }
  }

  skipTo(event) {
    event.preventDefault(); // the part behind the # is the page
    this.heading?.focus();
  }

  drawBroker() {
    const { status, caller, uptime_ms: uptime } = history.latest;
    write(this.node, status.node);
    write(this.version, `Version ${status.version}, up\u00a0${span(uptime / 1000)}`);
    const hasKey = session.key() !== null;
    write(this.who, hasKey ? `${caller.name}, ${caller.role}` : 'No key needed on this machine');
    this.signOut.hidden = !hasKey;
  }

  drawLink() {
    const isUp = isConnected();
    this.banner.hidden = isUp;
    this.app.classList.toggle('is-stale', !isUp);
    write(this.alert, isUp ? '' : 'The broker does not answer. What is shown here is from before.');
    this.drawCountdown();
  }

  drawCountdown() {
    if (isConnected()) return;
    const seconds = Math.max(0, Math.ceil((history.nextAttempt - Date.now()) / 1000));
    write(this.countdown, seconds > 0 ? `Next attempt in ${seconds} s.` : 'Trying…');
  }
}
