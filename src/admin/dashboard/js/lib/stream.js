// Server-sent events by fetch: an EventSource could not send the key but in its URL.

import { open } from './api.js';

/** Calls `onEvent(name, data)` for each event until the stream ends. Throws as `open` does. */
export async function follow(where, query, signal, onOpen, onEvent) {
  const response = await open('GET', where, { query, signal });
  onOpen();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) parse(block, onEvent);
  }
}

function parse(block, onEvent) {
  let name = 'message';
  const data = [];
  for (const line of block.split('\n')) {
    if (line.startsWith('event:')) name = line.slice(6).trim();
    else if (line.startsWith('data:')) data.push(line.slice(5).trimStart());
  }
  if (data.length > 0) onEvent(name, data.join('\n'));
}
