"""A worker: makes an invoice of each order.

    worker.py NAME [HOST [PORT]]

It does its work at least once, and its invoices come once: each is published under the q-id of its order, which stays the same
over all attempts, so that the queue "invoices" knows a repeated one.
"""

import json
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

name = sys.argv[1]
host = sys.argv[2] if len(sys.argv) > 2 else "localhost"
port = int(sys.argv[3]) if len(sys.argv) > 3 else 1883

under_way = {}  # orders by the packet identifier of their invoice


def with_user_property(key, value):
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [(key, value)]
    return properties


def on_connect(client, _data, _flags, reason, _properties):
    print(f"{name}: {reason}", flush=True)
    client.subscribe("$queue/orders", qos=1)


def on_message(client, _data, order):
    told = dict(order.properties.UserProperty)
    try:
        content = json.loads(order.payload)
        invoice = {"order": content["id"], "total": content["amount"] * content["price"]}
    except (KeyError, TypeError, ValueError) as error:
        print(f"{name}: attempt {told['q-attempt']} at {order.topic} failed: {error!r}", flush=True)
        client.publish("$queue/orders/$nack", qos=1, properties=with_user_property("q-tag", told["q-tag"]))
        client.ack(order.mid, order.qos)  # the packet is done, the order is not
        return
    topic = order.topic.replace("orders/", "invoices/", 1)
    info = client.publish(topic, json.dumps(invoice), qos=1, properties=with_user_property("q-dedup-id", told["q-id"]))
    under_way[info.mid] = order


def on_publish(client, _data, mid, reason, _properties):
    order = under_way.pop(mid, None)
    if order is None:
        return
    if reason.is_failure:
        print(f"{name}: no room for the invoice of {order.topic}: {reason}", flush=True)
        return  # not acknowledged, the order comes again
    client.ack(order.mid, order.qos)  # only now: the invoice is safe
    print(f"{name}: {order.topic} done", flush=True)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5, manual_ack=True)
client.on_connect, client.on_message, client.on_publish = on_connect, on_message, on_publish
client.connect(host, port)
client.loop_forever()
