// The figures of the overview, every two seconds on whatever page, and what they were in the last minutes.

import { Problem, get } from './api.js';
import * as session from './session.js';

const EVERY_MS = 2_000;
const KEPT = 300;
const RETRY_MS = [1_000, 2_000, 4_000, 8_000, 15_000];

/** Dispatches `sample` when there is a new one and `retry` when the next attempt is fixed. */
export const events = new EventTarget();

/** The latest overview, as the API gives it. */
export let latest = null;
/** The oldest first. */
export const samples = [];
/** When the next attempt is made while the broker is away, in milliseconds since 1970. */
export let nextAttempt = 0;

let timer = null;
let failures = 0;
let isAsking = false;
let isRunning = false;

/** Begins; done after the first attempt. */
export function start() {
  stop();
  isRunning = true;
  document.addEventListener('visibilitychange', onVisibility);
  return attempt();
}

export function stop() {
  isRunning = false;
  clearTimeout(timer);
  document.removeEventListener('visibilitychange', onVisibility);
  latest = null;
  samples.length = 0;
  failures = 0;
}

function onVisibility() {
  if (!document.hidden) attempt();
}

/** Asks now. */
export async function attempt() {
  if (isAsking || !isRunning) return;
  isAsking = true;
  clearTimeout(timer);
  try {
    const overview = await get('/overview');
    if (!isRunning) return;
    take(overview);
    failures = 0;
    schedule(EVERY_MS);
  } catch (error) {
    if (!isRunning || (error instanceof Problem && error.status === 401)) return;
    const pause = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
    failures += 1;
    nextAttempt = Date.now() + pause;
    schedule(pause);
    events.dispatchEvent(new Event('retry'));
  } finally {
    isAsking = false;
  }
}

function schedule(milliseconds) {
  timer = setTimeout(() => {
    if (!document.hidden) attempt();
  }, milliseconds);
}

function take(overview) {
  session.setCaller(overview.caller);
  const isAnother = latest !== null && overview.uptime_ms < latest.uptime_ms;
  if (isAnother) samples.length = 0; // it was started anew, and counts from zero
  const before = isAnother ? null : latest;
  latest = overview;
  samples.push(sample(before, overview));
  if (samples.length > KEPT) samples.shift();
  events.dispatchEvent(new Event('sample'));
}

function sample(before, now) {
  const { stats, metrics } = now;
  const seconds = before === null ? 0 : (now.uptime_ms - before.uptime_ms) / 1000;
  const rate = (read) => (seconds > 0 ? (read(now) - read(before)) / seconds : null);
  const of = (name) => rate((overview) => overview.metrics[name] ?? 0);
  const lost = (overview) => (overview.metrics['messages.dropped'] ?? 0) - (overview.metrics['messages.dropped.no_subscriber'] ?? 0);
  return {
    at: Date.now(),
    connections: stats['connections.count'],
    messagesIn: of('messages.received'),
    messagesOut: of('messages.sent'),
    bytesIn: of('bytes.received'),
    bytesOut: of('bytes.sent'),
    lost: rate(lost),
    unheard: of('messages.dropped.no_subscriber'),
    memory: stats['process.memory.bytes'],
    cpu: rate((overview) => overview.stats['process.cpu.seconds']),
    disk: stats['storage.segments.bytes'],
    live: stats['storage.live.bytes'],
    waiting: stats['mqueue.count'],
    inflight: stats['inflight.count'],
    queued: now.queues.ready + now.queues.leased + now.queues.delayed,
    dead: now.queues.dead_letters,
    metrics,
    ack: quantiles(before, now, 'publish_to_ack_seconds'),
    delivery: quantiles(before, now, 'publish_to_delivery_seconds'),
    sync: quantiles(before, now, 'storage_sync_seconds'),
  };
}

/** Median and 99th percentile between two answers, as near as the buckets tell; `null` where nothing was measured. */
function quantiles(before, now, name) {
  const later = now.histograms[name];
  const earlier = before?.histograms[name];
  const total = (later?.count ?? 0) - (earlier?.count ?? 0);
  if (before === null || total <= 0) return null;
  const buckets = later.buckets.map(([bound, count], place) => [bound, count - (earlier?.buckets[place]?.[1] ?? 0)]);
  return { count: total, median: quantile(buckets, total, 0.5), high: quantile(buckets, total, 0.99) };
}

function quantile(buckets, total, part) {
  const wanted = total * part;
  let [lower, below] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= wanted) return lower + ((bound - lower) * (wanted - below)) / Math.max(1, count - below);
    [lower, below] = [bound, count];
  }
  return lower;
}
