"""paho-mqtt over TLS: tls_paho.py TLS_PORT WSS_PORT DEVICES_PORT CA CERTIFICATE KEY."""

import queue
import ssl
import sys

import paho.mqtt.client as mqtt

PATIENCE = 20


def round_trip(port, topic, transport="tcp", ca=None, certificate=None, key=None):
    messages, ready = queue.Queue(), queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, transport=transport,
                         reconnect_on_failure=False)
    client.tls_set(ca_certs=ca, certfile=certificate, keyfile=key, cert_reqs=ssl.CERT_REQUIRED)
    client.on_message = lambda client, data, message: messages.put(message.payload)
    client.on_subscribe = lambda client, data, mid, reasons, properties: ready.put(reasons)
    client.connect("localhost", port)
    client.loop_start()
    client.subscribe(topic, 2)
    assert ready.get(timeout=PATIENCE)[0].value == 2, "granted"
    for size in (0, 1, 16 * 1024, 256 * 1024):
        client.publish(topic, b"x" * size, 2)
        got = messages.get(timeout=PATIENCE)
        assert got == b"x" * size, f"{len(got)} bytes of {size}"
    version = client.socket().version() if transport == "tcp" else "TLS"
    client.disconnect()
    client.loop_stop()
    print(f"{transport} with {version}{' and a client certificate' if certificate else ''}: done")


if __name__ == "__main__":
    tls, wss, devices = map(int, sys.argv[1:4])
    authority, own_certificate, own_key = sys.argv[4:7]
    round_trip(tls, "a", ca=authority)
    round_trip(wss, "a", "websockets", ca=authority)
    round_trip(devices, "devices/sensor/a", ca=authority, certificate=own_certificate, key=own_key)
