// A small MQTT 5.0 client over WebSocket: QoS 0 and 1, one connection, no session that outlives it.

import {
  ASSIGNED_CLIENT_IDENTIFIER, Packets, REASON_STRING, SERVER_KEEP_ALIVE, TYPE, connect, disconnect, pingreq, puback, publish, subscribe,
  unsubscribe,
} from './packets.js';

const KEEP_ALIVE_S = 30;
const PATIENCE_MS = 10_000;
const REASONS = {
  0x01: 'granted QoS 1', 0x04: 'disconnect with will message', 0x10: 'no matching subscribers', 0x11: 'no subscription existed',
  0x80: 'unspecified error', 0x81: 'malformed packet', 0x82: 'protocol error', 0x83: 'implementation specific error',
  0x84: 'unsupported protocol version', 0x85: 'client identifier not valid', 0x86: 'bad user name or password', 0x87: 'not authorized',
  0x88: 'server unavailable', 0x89: 'server busy', 0x8a: 'banned', 0x8b: 'server shutting down', 0x8d: 'keep alive timeout',
  0x8e: 'session taken over', 0x8f: 'topic filter invalid', 0x90: 'topic name invalid', 0x93: 'receive maximum exceeded',
  0x95: 'packet too large', 0x96: 'message rate too high', 0x97: 'quota exceeded', 0x98: 'administrative action',
  0x99: 'payload format invalid', 0x9a: 'retain not supported', 0x9b: 'QoS not supported', 0x9d: 'server moved',
  0x9e: 'shared subscriptions not supported', 0x9f: 'connection rate exceeded', 0xa1: 'subscription identifiers not supported',
  0xa2: 'wildcard subscriptions not supported',
};

/** A reason code in words, with what the broker says about it. */
export function reasonText({ reason, properties }) {
  const name = REASONS[reason] ?? `reason 0x${reason.toString(16)}`;
  const more = properties?.get(REASON_STRING);
  return more ? `${name}: ${more}` : name;
}

export class Client {
  /** `onMessage(message)`; `onClose(why)` once, when a connection that was there has ended. */
  constructor({ onMessage, onClose }) {
    Object.assign(this, { onMessage, onClose });
    this.waiting = new Map();
    this.nextId = 1;
    this.packets = new Packets();
    this.why = '';
    this.isOpen = false;
  }

  /** Connects; resolves to the client identifier in force, throws with words. */
  open(url, { clientId, userName, password }) {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, 'mqtt'); // [MQTT-6.0.0-3]
      socket.binaryType = 'arraybuffer';
      this.socket = socket;
      const fail = (text) => {
        clearTimeout(patience);
        socket.close();
        reject(new Error(text));
      };
      const patience = setTimeout(() => fail('The broker did not answer in time.'), PATIENCE_MS);
      this.onConnack = (packet) => {
        clearTimeout(patience);
        if (packet.reason >= 0x80) {
          fail(`The broker refuses: ${reasonText(packet)}.`);
          return;
        }
        this.isOpen = true;
        const seconds = packet.properties.get(SERVER_KEEP_ALIVE) ?? KEEP_ALIVE_S;
        if (seconds > 0) this.pings = setInterval(() => this.send(pingreq()), seconds * 750);
        resolve(packet.properties.get(ASSIGNED_CLIENT_IDENTIFIER) ?? clientId);
      };
      socket.addEventListener('open', () => this.send(connect({ clientId, userName, password, keepAlive: KEEP_ALIVE_S })));
      socket.addEventListener('message', (event) => this.take(new Uint8Array(event.data)));
      socket.addEventListener('close', () => {
        if (this.isOpen) this.closed();
        else fail('No WebSocket connection came about: wrong address, the listener is closed, or it does not let this page in (allowed_origins).');
      });
    });
  }

  take(bytes) {
    try {
      for (const packet of this.packets.feed(bytes)) this.handle(packet);
    } catch (error) {
      this.why = `The broker sent what could not be read: ${error.message}`;
      this.socket.close();
    }
  }

  handle(packet) {
    if (packet.type === TYPE.CONNACK) {
      this.onConnack(packet);
    } else if (packet.type === TYPE.PUBLISH) {
      if (packet.qos === 1) this.send(puback(packet.packetId));
      this.onMessage(packet);
    } else if (packet.type === TYPE.DISCONNECT) {
      this.why = `The broker ended the connection: ${reasonText(packet)}.`;
    } else if (packet.packetId !== undefined) {
      this.waiting.get(packet.packetId)?.(packet);
      this.waiting.delete(packet.packetId);
    }
  }

  closed() {
    clearInterval(this.pings);
    this.isOpen = false;
    for (const answer of this.waiting.values()) answer(null);
    this.waiting.clear();
    this.onClose(this.why || 'The connection was lost.');
  }

  send(bytes) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(bytes);
  }

  /** Sends what `make` gives for a packet identifier, and waits for its acknowledgement. */
  async exchange(make) {
    const packetId = this.nextId;
    this.nextId = this.nextId === 65535 ? 1 : this.nextId + 1;
    const answered = new Promise((resolve) => { this.waiting.set(packetId, resolve); });
    this.send(make(packetId));
    const answer = await answered;
    if (answer === null) throw new Error('The connection ended before the answer.');
    if (answer.reason >= 0x80) throw new Error(`The broker refuses: ${reasonText(answer)}.`);
    return answer;
  }

  subscribe(filter, qos) {
    return this.exchange((packetId) => subscribe({ filter, qos, packetId }));
  }

  unsubscribe(filter) {
    return this.exchange((packetId) => unsubscribe({ filter, packetId }));
  }

  /** For QoS 1 resolves to the reason of PUBACK in words. */
  async publish({ topic, payload, qos, retain }) {
    if (qos === 0) {
      this.send(publish({ topic, payload, qos, retain }));
      return 'sent';
    }
    const answer = await this.exchange((packetId) => publish({ topic, payload, qos, retain, packetId }));
    return answer.reason === 0 ? 'acknowledged' : `acknowledged: ${reasonText(answer)}`;
  }

  close() {
    this.why = 'Disconnected.';
    this.send(disconnect());
    this.socket.close();
  }
}
