// Opens a page in headless Chromium and tells what it says in the end: browser.mjs CHROMIUM URL WANTED.

import { load } from './installed.mjs';

const { chromium } = load('playwright-core');

const PATIENCE_MS = 50_000;

const [executablePath, url, wanted] = process.argv.slice(2);
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];
const browser = await chromium.launch({ executablePath, args, headless: true, timeout: PATIENCE_MS });
try {
  const page = await browser.newPage();
  page.on('console', (message) => console.log(`page: ${message.text()}`));
  page.on('pageerror', (error) => console.log(`page: ${error}`));
  await page.goto(url);
  const state = page.locator('#state', { hasText: /^(done|failed)/ });
  await state.waitFor({ timeout: PATIENCE_MS });
  const said = await state.textContent();
  for (const line of await page.locator('#messages li').allTextContents()) console.log(line);
  console.log(`${await browser.version()}: ${said}`);
  if (!said.startsWith(wanted)) process.exitCode = 1;
} finally {
  await browser.close();
}
