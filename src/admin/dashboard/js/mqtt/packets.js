// MQTT 5.0 on the wire, as much of it as the console needs. Reads what a broker sends, writes what a client sends.

const TEXT = new TextEncoder();
const UTF8 = new TextDecoder('utf-8', { fatal: true });

export const TYPE = { CONNACK: 2, PUBLISH: 3, PUBACK: 4, PUBREC: 5, PUBREL: 6, PUBCOMP: 7, SUBACK: 9, UNSUBACK: 11, PINGRESP: 13, DISCONNECT: 14 };

/** Bytes that grow. */
class Writer {
  bytes = [];

  byte(value) {
    this.bytes.push(value & 0xff);
    return this;
  }

  word(value) {
    return this.byte(value >> 8).byte(value);
  }

  /** A Variable Byte Integer (1.5.5). */
  varint(value) {
    let rest = value;
    do {
      const digit = rest % 128;
      rest = Math.floor(rest / 128);
      this.byte(rest > 0 ? digit | 0x80 : digit);
    } while (rest > 0);
    return this;
  }

  raw(bytes) {
    for (const byte of bytes) this.bytes.push(byte);
    return this;
  }

  /** Binary data, or a string, with its length before it (1.5.4, 1.5.6). */
  field(value) {
    const bytes = typeof value === 'string' ? TEXT.encode(value) : value;
    if (bytes.length > 65535) throw new Error('Longer than 65,535 bytes.');
    return this.word(bytes.length).raw(bytes);
  }

  /** As a packet with this first byte. */
  packet(first) {
    return Uint8Array.from(new Writer().byte(first).varint(this.bytes.length).raw(this.bytes).bytes);
  }
}

export function connect({ clientId, userName, password, keepAlive }) {
  const flags = 0x02 | (userName ? 0x80 : 0) | (password ? 0x40 : 0); // Clean Start
  const body = new Writer().field('MQTT').byte(5).byte(flags).word(keepAlive).varint(0).field(clientId);
  if (userName) body.field(userName);
  if (password) body.field(password);
  return body.packet(0x10);
}

export function publish({ topic, payload, qos, retain, packetId }) {
  const body = new Writer().field(topic);
  if (qos > 0) body.word(packetId);
  return body.varint(0).raw(payload).packet(0x30 | (qos << 1) | (retain ? 1 : 0));
}

export function subscribe({ filter, qos, packetId }) {
  return new Writer().word(packetId).varint(0).field(filter).byte(qos).packet(0x82);
}

export function unsubscribe({ filter, packetId }) {
  return new Writer().word(packetId).varint(0).field(filter).packet(0xa2);
}

export function puback(packetId) {
  return new Writer().word(packetId).packet(0x40);
}

export const pingreq = () => Uint8Array.of(0xc0, 0);
export const disconnect = () => Uint8Array.of(0xe0, 0);

/** What is left of a packet. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.place = 0;
  }

  get left() {
    return this.bytes.length - this.place;
  }

  take(count) {
    if (count > this.left) throw new Error('The packet ends too early.');
    this.place += count;
    return this.bytes.subarray(this.place - count, this.place);
  }

  byte() {
    return this.take(1)[0];
  }

  word() {
    return this.byte() * 256 + this.byte();
  }

  varint() {
    let [value, scale] = [0, 1];
    for (let count = 0; count < 4; count += 1) {
      const digit = this.byte();
      value += (digit & 0x7f) * scale;
      if (digit < 0x80) return value;
      scale *= 128;
    }
    throw new Error('A Variable Byte Integer is longer than four bytes.');
  }

  text() {
    return UTF8.decode(this.take(this.word()));
  }

  /** Properties by their identifier; the console looks at two of them. */
  properties() {
    const inner = new Reader(this.take(this.varint()));
    const found = new Map();
    while (inner.left > 0) {
      const id = inner.varint();
      found.set(id, inner.property(id));
    }
    return found;
  }

  /** The value of a property (2.2.2.2). */
  property(id) {
    if ([0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a].includes(id)) return this.byte();
    if ([0x13, 0x21, 0x22, 0x23].includes(id)) return this.word();
    if ([0x02, 0x11, 0x18, 0x27].includes(id)) return this.word() * 65536 + this.word();
    if (id === 0x0b) return this.varint();
    if (id === 0x26) return [this.text(), this.text()];
    if (id === 0x09 || id === 0x16) return this.take(this.word());
    return this.text();
  }
}

export const REASON_STRING = 0x1f;
export const ASSIGNED_CLIENT_IDENTIFIER = 0x12;
export const SERVER_KEEP_ALIVE = 0x13;

/** Takes whole packets out of a stream of bytes. */
export class Packets {
  buffer = new Uint8Array();

  /** The packets that are whole now that these bytes have come. */
  *feed(bytes) {
    const all = new Uint8Array(this.buffer.length + bytes.length);
    all.set(this.buffer);
    all.set(bytes, this.buffer.length);
    let place = 0;
    for (;;) {
      const length = whole(all.subarray(place));
      if (length === null) break;
      yield read(all.subarray(place, place + length));
      place += length;
    }
    this.buffer = all.slice(place);
  }
}

/** The length of the packet that these bytes begin with, `null` if it is not all there. */
function whole(bytes) {
  let [length, scale] = [0, 1];
  for (let place = 1; place < Math.min(bytes.length, 5); place += 1) {
    length += (bytes[place] & 0x7f) * scale;
    scale *= 128;
    if (bytes[place] < 0x80) return bytes.length >= place + 1 + length ? place + 1 + length : null;
    if (place === 4) throw new Error('A Remaining Length is longer than four bytes.');
  }
  return null;
}

function read(bytes) {
  const [type, flags] = [bytes[0] >> 4, bytes[0] & 15];
  const reader = new Reader(bytes);
  reader.byte();
  reader.varint();
  if (type === TYPE.PUBLISH) return { type, ...readPublish(reader, flags) };
  if (type === TYPE.CONNACK) {
    reader.byte();
    const reason = reader.byte();
    return { type, reason, properties: reader.properties() };
  }
  if (type === TYPE.DISCONNECT) {
    const reason = reader.left > 0 ? reader.byte() : 0;
    return { type, reason, properties: reader.left > 0 ? reader.properties() : new Map() };
  }
  if (type === TYPE.PINGRESP) return { type };
  const packetId = reader.word();
  if (type === TYPE.SUBACK || type === TYPE.UNSUBACK) {
    const properties = reader.properties();
    return { type, packetId, reason: reader.byte(), properties };
  }
  const reason = reader.left > 0 ? reader.byte() : 0;
  return { type, packetId, reason, properties: reader.left > 0 ? reader.properties() : new Map() };
}

function readPublish(reader, flags) {
  const qos = (flags >> 1) & 3;
  const topic = reader.text();
  const packetId = qos > 0 ? reader.word() : null;
  const properties = reader.properties();
  return { qos, retain: (flags & 1) === 1, topic, packetId, properties, payload: reader.take(reader.left).slice() };
}
