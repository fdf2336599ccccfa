// Starts the page: who asks, which page, and what is around it.

import { get, link } from './lib/api.js';
import { h } from './lib/dom.js';
import * as history from './lib/history.js';
import { here, href } from './lib/router.js';
import * as session from './lib/session.js';
import * as theme from './lib/theme.js';
import { Frame } from './parts/frame.js';
import { failure } from './parts/states.js';
import { noticeBoard } from './parts/dialog.js';
import { signIn } from './pages/signin.js';
import * as overview from './pages/overview.js';
import * as clients from './pages/clients.js';
import * as client from './pages/client.js';
import * as topics from './pages/topics.js';
import * as retained from './pages/retained.js';
import * as queues from './pages/queues.js';
import * as queue from './pages/queue.js';
import * as mqttConsole from './pages/console.js';
import * as trace from './pages/trace.js';
import * as bans from './pages/bans.js';
import * as listeners from './pages/listeners.js';
import * as bridges from './pages/bridges.js';
import * as config from './pages/config.js';

/** By the first segment of the address: the list, and the page of one of it. */
const PAGES = {
  overview: { nav: 'Overview', page: overview },
  clients: { nav: 'Clients', page: clients, one: client },
  topics: { nav: 'Subscriptions', page: topics },
  retained: { nav: 'Retained messages', page: retained },
  queues: { nav: 'Queues', page: queues, one: queue },
  console: { nav: 'Console', page: mqttConsole },
  trace: { nav: 'Live trace', page: trace },
  bans: { nav: 'Bans', page: bans },
  listeners: { nav: 'Listeners', page: listeners },
  bridges: { nav: 'Bridges', page: bridges },
  config: { nav: 'Configuration', page: config },
};

const app = h('div', { class: 'app' });
const frame = new Frame(app, Object.entries(PAGES).map(([name, { nav }]) => ({ name, label: nav })), signOut);
let leave = new AbortController();
let isOpen = false;

function openPage() {
  isOpen = true;
  leave.abort();
  leave = new AbortController();
  const { segments, params } = here();
  const [name = 'overview', ...rest] = segments;
  const entry = PAGES[name];
  const page = rest.length > 0 ? entry?.one : entry?.page;
  frame.setCurrent(name);
  if (!page || rest.length > 1) {
    frame.show({ title: 'No such page', content: [h('p', {}, h('a', { href: href(['overview']) }, 'To the overview'))] });
    return;
  }
  try {
    frame.show(page.open({ args: rest, params, signal: leave.signal }));
  } catch (error) {
    frame.show({ title: entry.nav, content: [failure(error)] });
  }
}

function showApp() {
  document.body.replaceChildren(frame.skip, app, noticeBoard());
  // Who asks decides what a page offers: that is asked first, and comes as an event.
  isOpen = false;
  history.start().finally(() => {
    if (!isOpen && app.isConnected) openPage();
  });
}

function showSignIn(message) {
  leave.abort();
  history.stop();
  document.body.replaceChildren(signIn({ message, done: showApp }), noticeBoard());
}

function signOut() {
  session.forget();
  showSignIn('');
}

/** Whether a key is needed is for the broker to say. */
async function begin() {
  try {
    await get('/status');
    showApp();
  } catch (error) {
    if (error.status !== 401) showApp();
  }
}

theme.apply();
window.addEventListener('hashchange', () => {
  if (app.isConnected) openPage();
});
session.events.addEventListener('refused', (event) => showSignIn(event.detail));
session.events.addEventListener('caller', openPage);
link.addEventListener('back', () => history.attempt());
begin();
