"""paho-mqtt against the broker: paho_mqtt.py SCENARIO TCP_PORT WEBSOCKET_PORT."""

import queue
import socket
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

PATIENCE = 20
VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}
SIZES = [0, 1, 127, 128, 16 * 1024, 256 * 1024]
SESSION_TAKEN_OVER = 0x8E


class Peer:
    """A client whose callbacks end in queues, so that a scenario reads from top to bottom."""

    def __init__(self, port, version="5.0", client_id="", clean=True, expiry=0, transport="tcp", manual_ack=False,
                 will=None, connect_properties=None, user=None):
        self.is_v5 = version == "5.0"
        self.messages, self.connacks, self.ends, self.subacks = (queue.Queue() for _ in range(4))
        session = {} if self.is_v5 else {"clean_session": clean}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=VERSIONS[version], transport=transport,
            reconnect_on_failure=False, manual_ack=manual_ack, **session)
        if transport == "websockets":
            self.client.ws_set_options(path="/mqtt")
        if user:
            self.client.username_pw_set(*user)
        if will:
            self.client.will_set(**will)
        self.client.on_message = lambda client, data, message: self.messages.put(message)
        self.client.on_connect = lambda client, data, flags, reason, properties: self.connacks.put(
            (reason, flags.session_present, properties))
        self.client.on_disconnect = lambda client, data, flags, reason, properties: self.ends.put(reason)
        self.client.on_subscribe = lambda client, data, mid, reasons, properties: self.subacks.put(reasons)
        more = {}
        if self.is_v5:
            more["properties"] = connect_properties or Properties(PacketTypes.CONNECT)
            if expiry:
                more["properties"].SessionExpiryInterval = expiry
            more["clean_start"] = clean
        self.client.connect("127.0.0.1", port, keepalive=60, **more)
        self.client.loop_start()
        self.reason, self.session_present, self.properties = self.connacks.get(timeout=PATIENCE)

    def subscribe(self, topic, qos=2, options=None, properties=None):
        if options is not None:
            self.client.subscribe(topic, options=options, properties=properties)
        else:
            self.client.subscribe(topic, qos, properties=properties)
        return [reason.value for reason in self.subacks.get(timeout=PATIENCE)]

    def publish(self, topic, payload=b"", qos=1, retain=False, properties=None):
        info = self.client.publish(topic, payload, qos, retain, properties)
        info.wait_for_publish(PATIENCE)
        check(info.is_published(), f"{topic} is acknowledged")

    def message(self):
        return self.messages.get(timeout=PATIENCE)

    def expect(self, topic, payload, qos=None, retain=None):
        got = self.message()
        check((got.topic, got.payload) == (topic, payload), f"wanted {topic} {payload[:20]!r}, got {describe(got)}")
        check(qos in (None, got.qos), f"wanted QoS {qos}, got {describe(got)}")
        check(retain in (None, got.retain), f"wanted retain {retain}, got {describe(got)}")
        return got

    def expect_nothing(self, publisher):
        """Nothing has come before a message that is sent now."""
        self.subscribe("nothing")
        publisher.publish("nothing", b"before this")
        self.expect("nothing", b"before this")

    def leave(self):
        self.client.disconnect()
        self.ends.get(timeout=PATIENCE)
        self.client.loop_stop()

    def cut(self):
        """The network goes away without a DISCONNECT."""
        self.client.socket().shutdown(socket.SHUT_RDWR)
        self.ends.get(timeout=PATIENCE)
        self.client.loop_stop()


def describe(message):
    return f"{message.topic} {message.payload[:20]!r} qos={message.qos} retain={message.retain} dup={message.dup}"


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def knows_sessions(version):
    """Session Present came with 3.1.1."""
    return version != "3.1"


def payload(size):
    return bytes(n * 7 % 251 for n in range(size))


def properties_of(kind, **values):
    properties = Properties(kind)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def round_trips(port, _):
    for version in VERSIONS:
        peer = Peer(port, version, "round")
        check(peer.reason == 0 and not peer.session_present, "let in with a new session")
        check(peer.subscribe("a/#") == [2], "granted QoS 2")
        for qos in (0, 1, 2):
            for size in SIZES:
                peer.publish("a/b", payload(size), qos)
                peer.expect("a/b", payload(size), qos, retain=False)
        peer.leave()
        print(f"{version}: QoS 0, 1 and 2 with {SIZES} bytes")


def persistent_session(port, _):
    sender = Peer(port)
    for version in VERSIONS:
        def come(version=version):
            return Peer(port, version, "keeper", clean=False, expiry=300)

        first = come()
        check(not first.session_present, "no session at first")
        first.subscribe("post/#")
        first.leave()
        for n in range(20):
            sender.publish("post/box", b"%d" % n, qos=1 + n % 2)
        second = come()
        check(second.session_present == knows_sessions(version), "the session is there")
        # paho hands a QoS 2 message over when its exchange is done, so the order can be seen within a QoS only.
        waited = [second.message() for _ in range(20)]
        for qos in (1, 2):
            got = [int(message.payload) for message in waited if message.qos == qos]
            check(got == list(range(qos - 1, 20, 2)), f"QoS {qos} in order: {got}")
        second.leave()
        fresh = Peer(port, version, "keeper", clean=True)
        check(not fresh.session_present, "a clean start ends the session")
        sender.publish("post/box", b"lost")
        fresh.expect_nothing(sender)
        fresh.leave()
        print(f"{version}: 20 messages waited, in order")


def take_over(port, _):
    for version in VERSIONS:
        first = Peer(port, version, "same", clean=False, expiry=300)
        first.subscribe("a")
        second = Peer(port, version, "same", clean=False, expiry=300)
        check(second.session_present == knows_sessions(version), "the session moves over")
        reason = first.ends.get(timeout=PATIENCE)
        if version == "5.0":
            check(reason.value == SESSION_TAKEN_OVER, f"told why: {reason}")
        second.publish("a", b"mine")
        second.expect("a", b"mine")
        second.leave()
        Peer(port, version, "same", clean=True).leave()
        print(f"{version}: taken over, {reason}")


def wills(port, _):
    watcher = Peer(port)
    watcher.subscribe("will/#")
    for version in VERSIONS:
        will = {"topic": "will/cut", "payload": b"gone", "qos": 2, "retain": False}
        Peer(port, version, "cut", will=will).cut()
        watcher.expect("will/cut", b"gone", 2)
        Peer(port, version, "polite", will=dict(will, topic="will/polite")).leave()
        watcher.expect_nothing(watcher)
        print(f"{version}: published after a cut, not after DISCONNECT")

    properties = properties_of(
        PacketTypes.WILLMESSAGE, WillDelayInterval=2, ContentType="text/plain", UserProperty=[("why", "cut")])
    will = {"topic": "will/late", "payload": b"late", "qos": 1, "retain": False, "properties": properties}
    # The one who comes back was cut first: its will would come first.
    Peer(port, "5.0", "back", expiry=60, will=dict(will, topic="will/never")).cut()
    Peer(port, "5.0", "back", clean=False).leave()
    Peer(port, "5.0", "late", expiry=60, will=will).cut()
    got = watcher.expect("will/late", b"late", 1).properties
    check(got.ContentType == "text/plain" and got.UserProperty == [("why", "cut")], "the will keeps its properties")
    Peer(port, "5.0", "back", will=dict(will, topic="will/asked", properties=None)).client.disconnect(
        reasoncode=ReasonCode(PacketTypes.DISCONNECT, identifier=4))
    watcher.expect("will/asked", b"late", 1)
    watcher.expect_nothing(watcher)
    print("5.0: delayed, properties, cancelled by coming back, asked for by DISCONNECT 0x04")


def retained(port, _):
    for version in VERSIONS:
        peer = Peer(port, version, "retained")
        peer.publish("house/lamp", b"on", qos=2, retain=True)
        peer.subscribe("house/+")
        peer.expect("house/lamp", b"on", 2, retain=True)
        peer.publish("house/lamp", b"off", retain=True)
        peer.expect("house/lamp", b"off", 1, retain=False)
        peer.publish("house/lamp", b"", retain=True)
        peer.expect("house/lamp", b"", 1)
        late = Peer(port, version, "late")
        late.subscribe("house/#")
        late.expect_nothing(peer)
        late.leave()
        peer.leave()
        print(f"{version}: kept, replaced, deleted")

    peer = Peer(port)
    peer.publish("house/lamp", b"on", retain=True)
    only_new = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    never = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    as_published = SubscribeOptions(qos=1, retainAsPublished=True, noLocal=False)
    no_local = SubscribeOptions(qos=1, noLocal=True)
    peer.subscribe("house/lamp", options=never)
    peer.expect_nothing(peer)
    peer.subscribe("house/+", options=only_new)
    peer.expect("house/lamp", b"on", retain=True)
    peer.subscribe("house/+", options=only_new)
    peer.expect_nothing(peer)
    peer.client.unsubscribe("house/+")
    peer.subscribe("house/lamp", options=as_published)
    peer.expect("house/lamp", b"on", retain=True)
    peer.publish("house/lamp", b"off", retain=True)
    peer.expect("house/lamp", b"off", retain=True)
    peer.subscribe("mine", options=no_local)
    peer.publish("mine", b"x")
    peer.expect_nothing(Peer(port))
    print("5.0: Retain Handling 0, 1 and 2, Retain As Published, No Local")


def properties(port, _):
    peer = Peer(port)
    identifier = properties_of(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=7)
    peer.subscribe("a/+", options=SubscribeOptions(qos=2), properties=identifier)
    sent = properties_of(
        PacketTypes.PUBLISH, PayloadFormatIndicator=1, MessageExpiryInterval=60, ContentType="text/plain",
        ResponseTopic="answers/1", CorrelationData=b"\x00\xff", UserProperty=[("k", "1"), ("k", "2"), ("", "")])
    for qos in (0, 1, 2):
        peer.publish("a/b", "täxt".encode(), qos, properties=sent)
        got = peer.expect("a/b", "täxt".encode(), qos).properties
        for name in ("PayloadFormatIndicator", "ContentType", "ResponseTopic", "CorrelationData", "UserProperty"):
            check(getattr(got, name) == getattr(sent, name), f"{name}: {getattr(got, name, None)!r}")
        check(30 <= got.MessageExpiryInterval <= 60, f"expiry {got.MessageExpiryInterval}")
        check(got.SubscriptionIdentifier == [7], f"identifier {got.SubscriptionIdentifier}")
    check(peer.properties.AssignedClientIdentifier, "an identifier is assigned")
    check(Peer(port, client_id="named").properties.isEmpty() is False, "CONNACK has properties")
    print(f"all of PUBLISH; CONNACK: {peer.properties}")


def manual_ack(port, _):
    sender = Peer(port)
    for version in ("3.1.1", "5.0"):
        def come(version=version):
            return Peer(port, version, "slow", clean=False, expiry=300, manual_ack=True)

        first = come()
        first.subscribe("work", 1)
        for n in range(3):
            sender.publish("work", b"%d" % n)
        done = first.expect("work", b"0", 1)
        check(not done.dup, "the first time is no repetition")
        first.client.ack(done.mid, done.qos)
        first.expect("work", b"1", 1)
        first.expect("work", b"2", 1)
        # The answer shows that the broker has read the acknowledgement before it.
        first.subscribe("other")
        first.cut()
        second = come()
        check(second.session_present, "the session is there")
        for text in (b"1", b"2"):
            again = second.expect("work", text, 1)
            check(again.dup, f"a repetition says so: {describe(again)}")
            second.client.ack(again.mid, again.qos)
        second.subscribe("other")
        second.leave()
        third = come()
        third.expect_nothing(sender)
        third.leave()
        Peer(port, version, "slow", clean=True).leave()
        print(f"{version}: unacknowledged ones come again with DUP, acknowledged ones do not")


def told(message, name):
    return dict(message.properties.UserProperty).get(name)


def work_queue(port, _):
    """Acknowledged when the work is done: what is not comes again, to whoever is there."""
    sender = Peer(port)
    for version in ("3.1.1", "5.0"):
        worker = Peer(port, version, "worker", manual_ack=True)
        check(worker.subscribe("$queue/jobs", 1) == [1], "it is a consumer")
        for text in (b"done", b"stuck", b"left"):
            sender.publish("jobs/paint", text)
        done, stuck, _ = (worker.expect("jobs/paint", text, 1) for text in (b"done", b"stuck", b"left"))
        worker.client.ack(done.mid, done.qos)
        again = {message.payload: message for message in (worker.message(), worker.message())}
        check(set(again) == {b"stuck", b"left"}, f"what was not acknowledged comes again: {set(again)}")
        check(not again[b"stuck"].dup and again[b"stuck"].mid != stuck.mid, "as a new PUBLISH")
        if version == "5.0":
            check(told(done, "q-attempt") == "1", "the first attempt")
            check(told(again[b"stuck"], "q-attempt") == "2", "the second attempt")
            check(told(again[b"stuck"], "q-id") == told(stuck, "q-id"), "of the same message")
        worker.client.ack(again[b"stuck"].mid, 1)
        worker.subscribe("other")
        worker.cut()
        other = Peer(port, version, "other", manual_ack=True)
        other.subscribe("$queue/jobs", 1)
        left = other.expect("jobs/paint", b"left", 1)
        other.client.ack(left.mid, 1)
        other.subscribe("other")
        other.leave()
        print(f"{version}: what a worker leaves undone another one does")
    last = Peer(port, "5.0", "last", manual_ack=True)
    last.subscribe("$queue/jobs", 1)
    last.expect_nothing(sender)


def receive_maximum(port, _):
    limited = properties_of(PacketTypes.CONNECT, ReceiveMaximum=2)
    peer = Peer(port, manual_ack=True, connect_properties=limited)
    sender = Peer(port)
    peer.subscribe("work", 1)
    for n in range(5):
        sender.publish("work", b"%d" % n)
    waiting = [peer.expect("work", b"0"), peer.expect("work", b"1")]
    peer.subscribe("other")
    check(peer.messages.empty(), "a third one waits for an acknowledgement")
    for n in range(2, 5):
        done = waiting.pop(0)
        peer.client.ack(done.mid, done.qos)
        waiting.append(peer.expect("work", b"%d" % n))
    print("never more than two unacknowledged")


def shared_subscription(port, _):
    members = [Peer(port, client_id=f"member{n}") for n in range(3)]
    for member in members:
        member.subscribe("$share/crew/work/+", 1)
    sender = Peer(port)
    for n in range(30):
        sender.publish("work/a", b"%d" % n)
    got = [[int(member.message().payload) for _ in range(10)] for member in members]
    check(sorted(sum(got, [])) == list(range(30)), f"each message once: {got}")
    check(all(part == sorted(part) for part in got), f"in order: {got}")
    print(f"30 messages: {[len(part) for part in got]}")


def websocket(_, port):
    for version in VERSIONS:
        peer = Peer(port, version, "web", transport="websockets")
        peer.subscribe("a/#")
        for qos in (0, 1, 2):
            for size in SIZES:
                peer.publish("a/b", payload(size), qos)
                peer.expect("a/b", payload(size), qos)
        peer.leave()
        print(f"{version} over WebSocket: QoS 0, 1 and 2 with {SIZES} bytes")


def refusals(port, _):
    for version in VERSIONS:
        watcher = Peer(port, version)
        watcher.subscribe("$SYS/broker/version")
        stranger = Peer(port, version)
        stranger.publish("$SYS/broker/version", b"mine", retain=True)
        first = watcher.message()
        check(first.payload != b"mine", "$SYS belongs to the broker")
        late = Peer(port, version)
        late.subscribe("$SYS/broker/version")
        check(late.message().payload == first.payload, "$SYS belongs to the broker")
        print(f"{version}: {first.payload.decode()}, whatever a client says")


SCENARIOS = [round_trips, persistent_session, take_over, wills, retained, properties, manual_ack, receive_maximum,
             shared_subscription, websocket, refusals, work_queue]

if __name__ == "__main__":
    name, tcp, web = sys.argv[1:4]
    {scenario.__name__: scenario for scenario in SCENARIOS}[name](int(tcp), int(web))
