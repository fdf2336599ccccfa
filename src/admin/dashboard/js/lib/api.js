// Requests to /api/v1. An answer that is no success is a Problem; no answer at all is Unreachable.

import * as session from './session.js';

const ROOT = new URL('/api/v1', location.href).href;
const PATIENCE_MS = 15_000;

/** The broker said no: with its code and its words. */
export class Problem extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Nobody answered. */
export class Unreachable extends Error {}

/** Dispatches `lost` and `back`. */
export const link = new EventTarget();

let isUp = true;

export function isConnected() {
  return isUp;
}

function setUp(wanted) {
  if (isUp === wanted) return;
  isUp = wanted;
  link.dispatchEvent(new Event(wanted ? 'back' : 'lost'));
}

/** A path of these parts, each as one segment. */
export function path(...parts) {
  return parts.map((part) => {
    // A browser takes these for steps in the path, however they are written.
    if (part === '.' || part === '..') throw new Problem(400, 'NO_PATH', `A browser cannot ask for "${part}"; use dunlin ctl.`);
    return `/${encodeURIComponent(part)}`;
  }).join('');
}

function address(where, query) {
  const url = new URL(ROOT + where);
  for (const [name, value] of Object.entries(query ?? {})) {
    // No mount point is one too: left out, the broker would take the client of any.
    const isGiven = value !== '' || name === 'mountpoint';
    if (isGiven && value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  return url;
}

function headers(more) {
  const key = session.key();
  return key === null ? more : { ...more, Authorization: `Bearer ${key}` };
}

/** Asks; the caller looks at the answer. Throws Problem and Unreachable. */
export async function open(method, where, { query, body, signal } = {}) {
  const key = session.key();
  const request = { method, signal, cache: 'no-store', credentials: 'omit', redirect: 'error', headers: headers({}) };
  if (method !== 'GET' && method !== 'DELETE') {
    request.headers = headers({ 'Content-Type': 'application/json' });
    request.body = JSON.stringify(body ?? {});
  }
  let response;
  try {
    response = await fetch(address(where, query), request);
  } catch (error) {
    if (signal?.aborted) throw error;
    setUp(false);
    throw new Unreachable('The broker does not answer.');
  }
  setUp(true);
  if (response.ok) return response;
  const problem = await problemOf(response);
  // An answer that comes late says nothing of the key that is there by now.
  if (problem.status === 401 && session.key() === key) session.refused(problem.message);
  throw problem;
}

async function problemOf(response) {
  try {
    const { code, message } = await response.json();
    return new Problem(response.status, code, message);
  } catch {
    return new Problem(response.status, 'NO_ANSWER', `The answer was ${response.status}, and cannot be read.`);
  }
}

async function ask(method, where, options = {}) {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const signal = options.signal ? AbortSignal.any([options.signal, patience]) : patience;
  try {
    const response = await open(method, where, { ...options, signal });
    return response.status === 204 ? null : await response.json();
  } catch (error) {
    if (error instanceof Problem || error instanceof Unreachable || options.signal?.aborted) throw error;
    setUp(false);
    throw new Unreachable('The broker does not answer.');
  }
}

export const get = (where, query, signal) => ask('GET', where, { query, signal });
export const post = (where, body, query) => ask('POST', where, { body, query });
export const put = (where, body) => ask('PUT', where, { body });
export const patch = (where, body) => ask('PATCH', where, { body });
export const remove = (where, query) => ask('DELETE', where, { query });
