// Payloads: bytes that a client chose, made readable and never more than text.

const MAX_HEX = 512;

/** The bytes of base64. */
export function bytesOf(base64) {
  const binary = atob(base64);
  return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
}

/**
 * How to show a payload: JSON with its lines, text as it is, anything else as hexadecimal.
 * `isWhole` tells that `bytes` is not only the beginning; a letter that is cut at its end does not make it binary.
 * In a log, where lines are dear, JSON stays as it came (`isPretty`).
 */
export function readable(bytes, isWhole = true, isPretty = true) {
  if (bytes.length === 0) return { kind: 'empty', text: '' };
  const text = utf8(bytes, isWhole);
  if (text === null || hasControls(text)) return { kind: 'binary', text: hex(bytes) };
  const json = isWhole ? pretty(text) : null;
  return json === null ? { kind: 'text', text } : { kind: 'JSON', text: isPretty ? json : text };
}

/** One line of it, for a table. */
export function excerpt(bytes, isWhole, length = 120) {
  const line = readable(bytes, isWhole, false).text.replace(/\s+/g, ' ').trim();
  return line.length > length ? `${line.slice(0, length)}…` : line;
}

function utf8(bytes, isWhole) {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: !isWhole });
  } catch {
    return null;
  }
}

function hasControls(text) {
  return /[\u0000-\u0008\u000e-\u001f]/.test(text);
}

function pretty(text) {
  if (!/^\s*[[{]/.test(text)) return null;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return null;
  }
}

function hex(bytes) {
  const pairs = Array.from(bytes.slice(0, MAX_HEX), (byte) => byte.toString(16).padStart(2, '0'));
  return pairs.join(' ') + (bytes.length > MAX_HEX ? ' …' : '');
}
