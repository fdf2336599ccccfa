// MQTT.js over TLS: tls_mqttjs.mjs TLS_PORT WSS_PORT DEVICES_PORT CA CERTIFICATE KEY.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

import { load } from './installed.mjs';

const mqtt = load('mqtt');

const PATIENCE_MS = 20_000;
const [tls, wss, devices, ...files] = process.argv.slice(2);
const [ca, cert, key] = files.map((file) => readFileSync(file));

async function roundTrip(url, topic, options) {
  const client = mqtt.connect(url, { protocolVersion: 5, reconnectPeriod: 0, ...options });
  await once(client, 'connect', { signal: AbortSignal.timeout(PATIENCE_MS) });
  await client.subscribeAsync(topic, { qos: 2 });
  for (const size of [0, 1, 16 * 1024, 256 * 1024]) {
    const message = once(client, 'message', { signal: AbortSignal.timeout(PATIENCE_MS) });
    await client.publishAsync(topic, Buffer.alloc(size, 'x'), { qos: 2 });
    assert.equal((await message)[1].length, size);
  }
  await client.endAsync();
  console.log(`${url.split(':')[0]}${options.cert ? ' with a client certificate' : ''}: done`);
}

/** The server's certificate is not from the authority that this client trusts. */
async function refusal(url) {
  const client = mqtt.connect(url, { reconnectPeriod: 0 });
  const [error] = await once(client, 'error', { signal: AbortSignal.timeout(PATIENCE_MS) });
  assert.match(`${error.code}`, /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN/);
  await client.endAsync(true);
  console.log(`${url.split(':')[0]} without the authority: refused by this client`);
}

await roundTrip(`mqtts://localhost:${tls}`, 'a', { ca });
await roundTrip(`wss://localhost:${wss}/mqtt`, 'a', { ca });
await roundTrip(`mqtts://localhost:${devices}`, 'devices/sensor/a', { ca, cert, key });
await refusal(`mqtts://localhost:${tls}`);
