"""A worker: makes an invoice of each order.

It does its work at least once, and its invoices come once: each is published under the q-id of its order, which stays the same
over all attempts, so that the queue "invoices" knows a repeated one.
"""

import argparse
import json

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

arguments = argparse.ArgumentParser()
arguments.add_argument("name", help="this worker's client identifier")
arguments.add_argument("--host", default="localhost")
arguments.add_argument("--port", type=int, default=1883)
arguments.add_argument("--price", type=int, help="what an order without a price costs; without it, nobody knows")
arguments = arguments.parse_args()
name = arguments.name

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
        if arguments.price is not None:
            content.setdefault("price", arguments.price)
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
client.connect(arguments.host, arguments.port)
client.loop_forever()
