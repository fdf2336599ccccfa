// Runs one scenario in headless Chromium: run.mjs CHROMIUM SCENARIO PAGE [ARGUMENTS]. Whatever the browser complains about fails it:
// errors of scripts, violations of the content security policy, files that are missing.

import { load } from '../clients/installed.mjs';
import { Visit } from './visit.mjs';

const { chromium } = load('playwright-core');

const PATIENCE_MS = 50_000;
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

const [executablePath, scenario, page, ...rest] = process.argv.slice(2);
const { default: run, expected = [], context: options = {} } = await import(`./scenarios/${scenario}.mjs`);
// Each start has a fresh profile of its own, which goes with the browser.
const browser = await chromium.launch({ executablePath, args: FLAGS, headless: true, timeout: PATIENCE_MS });
try {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
  context.setDefaultTimeout(PATIENCE_MS / 2);
  const complaints = [];
  const complain = (text) => {
    if (!expected.some((pattern) => pattern.test(text))) complaints.push(text);
  };
  const tab = await context.newPage();
  tab.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complain(`${message.text()} ${message.location().url}`);
  });
  tab.on('pageerror', (error) => complain(error.stack ?? String(error)));
  tab.on('dialog', (dialog) => {
    complaints.push(`a script of a client ran: ${dialog.message()}`);
    dialog.dismiss();
  });
  const foreign = [];
  tab.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(page).origin) foreign.push(request.url());
  });
  await run(new Visit(tab, page), ...rest);
  if (complaints.length > 0) throw new Error(`the browser complains:\n${complaints.join('\n')}`);
  if (foreign.length > 0) throw new Error(`the page asks others: ${foreign.join(' ')}`);
  console.log('done');
} catch (error) {
  console.error(`${scenario}: ${error.stack}`);
  const shown = await browser.contexts()[0]?.pages()[0]?.locator('body').innerText({ timeout: 1000 }).catch(() => '');
  console.error(`what the page shows:\n${shown}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
