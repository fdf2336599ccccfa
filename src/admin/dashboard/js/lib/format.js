// Numbers, sizes and times for people.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export const NONE = '–';

/** 12,345 */
export function count(value) {
  return value === null || value === undefined ? NONE : whole.format(value);
}

/** 1 queue, 2 queues */
export function many(value, one, more) {
  return `${count(value)} ${value === 1 ? one : more}`;
}

/** A rate, as short as it may be: 0.4, 12.3, 1,234, 56.7 k, 1.2 M. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 1e6) return `${(value / 1e6).toFixed(size < 1e7 ? 2 : 1)} M`;
  if (size >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  if (size >= 100 || Number.isInteger(value)) return whole.format(value);
  return value.toFixed(1);
}

/** Bytes in binary units. */
export function bytes(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  let unit = 0;
  let size = value;
  while (Math.abs(size) >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || Math.abs(size) >= 100 ? 0 : 1;
  return `${size.toFixed(digits)} ${UNITS[unit]}`;
}

/** A short span of seconds: 85 µs, 1.2 ms, 3.4 s. */
export function latency(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return NONE;
  if (seconds >= 1) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds >= 1e-3) return `${(seconds * 1e3).toFixed(seconds < 1e-2 ? 1 : 0)} ms`;
  return `${(seconds * 1e6).toFixed(0)} µs`;
}

/** A longer one, in its largest units: 3 d 4 h. */
export function span(seconds, units = 2) {
  if (seconds === null || seconds === undefined) return NONE;
  const steps = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
  let rest = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [unit, size] of steps) {
    const times = Math.floor(rest / size);
    if (times > 0 || parts.length > 0) parts.push(times > 0 ? `${times}\u00a0${unit}` : '');
    rest -= times * size;
    if (parts.length === units) break;
  }
  return parts.filter(Boolean).join('\u00a0') || (seconds > 0 ? 'under 1 s' : '0 s');
}

/** A point in time, in the reader's own zone. */
export function time(value) {
  if (!value) return NONE;
  const at = new Date(value);
  return Number.isNaN(at.getTime()) ? String(value) : `${date(at)} ${clock(at)}`;
}

function date(at) {
  const two = (number) => String(number).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** The time of the day. */
export function clock(value, withMilliseconds = false) {
  const at = new Date(value);
  const text = at.toTimeString().slice(0, 8);
  return withMilliseconds ? `${text}.${String(at.getMilliseconds()).padStart(3, '0')}` : text;
}

/** How long ago, by this machine's clock. */
export function ago(value) {
  if (!value) return NONE;
  const seconds = (Date.now() - new Date(value).getTime()) / 1000;
  if (seconds < 5) return 'just now';
  return `${span(seconds, 1)} ago`;
}

export function yes(value) {
  return value ? 'yes' : 'no';
}
