#!/usr/bin/env python3
"""What clients that behave notice of those that do not: `dunlin bench` alone, then beside each attack.

    python3 benches/siege.py [--dunlin target/release/dunlin] [--only NAME] [--rounds 3] [--no-sink] [--json siege.json]

Each run has a fresh broker with the default limits. The healthy clients are 10 pairs, QoS 1, in open loop: a latency counts from when a
message was due. An attack does so many things a second as the table below says, from one process of its own, which gets the time that
nobody else wants: real attackers bring machines of their own. Each attack is run twice, against the broker and, beside the same broker
and the same healthy clients, against a sink that takes all and does nothing: what is left of that is the machine's. What an attack got
done and what it cost is told beside the healthy clients' figures. Needs Python 3.9 on Linux and nothing else.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import resource
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque

# Packets ------------------------------------------------------------------------------------------------------------------------


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("!H", len(data)) + data


def packet(first, body):
    length, rest = b"", len(body)
    while True:
        rest, digit = rest >> 7, rest & 0x7F
        length += bytes([digit | (0x80 if rest else 0)])
        if not rest:
            return bytes([first]) + length + body


def connect(client_id="", will=None, user=None, password=None, clean=True):
    flags = 2 * clean | (0x04 if will else 0) | (0x80 if user else 0) | (0x40 if password else 0)
    parts = [text(client_id)]
    if will:
        parts += [b"\0", text(will), text("gone")]
    parts += [text(part) for part in (user, password) if part]
    return packet(0x10, text("MQTT") + bytes([5, flags, 0, 60, 0]) + b"".join(parts))


def publish(topic, payload, retain=False):
    return packet(0x31 if retain else 0x30, text(topic) + b"\0" + payload)


def subscribe(number, filters):
    body = struct.pack("!HB", number, 0)
    return packet(0x82, body + b"".join(text(name) + b"\1" for name in filters))


def unsubscribe(number, filters):
    return packet(0xA2, struct.pack("!HB", number, 0) + b"".join(text(name) for name in filters))


# Attacks ------------------------------------------------------------------------------------------------------------------------


class Attacker:
    """Connections that are not waited for; the oldest goes when there are too many."""

    def __init__(self, ports, folder, held):
        self.ports, self.folder, self.held = ports, folder, held
        self.open = deque()
        self.failed = 0

    def dial(self, door="tcp", first=b"", keeps=True, receive_buffer=None):
        link = socket.socket()
        if receive_buffer:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            link.connect(("127.0.0.1", self.ports[door]))
            link.setblocking(False)
            if first:
                link.send(first)
        except OSError:
            self.failed += 1
        if keeps:
            self.open.append(link)
            while len(self.open) > self.held:
                self.open.popleft().close()
        return link

    def client(self, name, **more):
        """One that is let in, waits for its CONNACK, and is kept apart from the others."""
        link = self.dial(first=connect(name), keeps=False, **more)
        link.settimeout(10)
        try:
            link.recv(1024)
        except OSError:
            self.failed += 1
        return link


def drain(link):
    link.setblocking(False)
    try:
        while link.recv(1 << 16):
            pass
    except OSError:
        pass


def send(attacker, link, data):
    """A broker that reads no more, or has hung up, is what the attack is to lead to."""
    try:
        link.sendall(data)
    except OSError:
        attacker.failed += 1


def connect_flood(attacker):
    for _ in itertools.count():
        attacker.dial(first=connect())
        yield


def half_open(attacker):
    for _ in itertools.count():
        attacker.dial()
        yield


def slow_connect(attacker):
    whole = connect("x" * 200)
    drips = []
    for _ in itertools.count():
        if len(drips) < 500:
            drips.append([attacker.dial(keeps=False), 0])
        drip = drips.pop(0)
        try:
            drip[0].send(whole[drip[1] : drip[1] + 1])
            drip[1] += 1
            if drip[1] < len(whole):
                drips.append(drip)
        except OSError:
            drip[0].close()  # cut: another one comes
        yield


def huge_packets(attacker):
    first = b"\x10\xff\xff\xff\x7f" + text("MQTT") + b"\5\2\0\0" + bytes(1000)
    for number in itertools.count():
        if number % 2:
            attacker.dial(first=first)
        else:
            attacker.dial(first=connect() + b"\x30\xff\xff\xff\x7f" + text("healthy") + bytes(1000))
        yield


def subscribe_storm(attacker):
    """Filters that branch at every level, and are taken back again."""
    links = [attacker.client(f"storm{number}") for number in range(10)]
    for number in itertools.count():
        pair = number // 2
        link = links[pair % len(links)]
        filters = [f"+/+/{pair % 500}/{leaf}/+/#" for leaf in range(20)]
        drain(link)
        packet_id = number % 60000 + 1
        send(attacker, link, unsubscribe(packet_id, filters) if number % 2 else subscribe(packet_id, filters))
        yield


def retained_flood(attacker):
    link = attacker.client("retainer")
    for number in itertools.count():
        send(attacker, link, publish(f"flood/{number % 50000}", b"x" * 256, retain=True))
        if number % 500 == 499:
            attacker.dial(first=connect() + subscribe(1, ["flood/#"]))  # wants all of them
        yield


def take_over_storm(attacker):
    for number in itertools.count():
        attacker.dial(first=connect(f"twin{number % 3}", clean=False) + subscribe(1, ["twin/#"]))
        yield


def slow_subscribers(attacker):
    slow = [attacker.client(f"slow{number}", receive_buffer=4096) for number in range(20)]
    for link in slow:
        send(attacker, link, subscribe(1, ["slow/#"]))
    source = attacker.client("source")
    for _ in itertools.count():
        send(attacker, source, publish("slow/topic", b"x" * 16384))
        yield


def malformed(attacker):
    bad = [b"\x82\x03\0\1\0", b"\x36\x05\0\1a\0\1", b"\x30\xff\xff\xff\xff\x01", b"\x00\x00", b"\x20\x02\0\0", b"\x62\x02\0\0"]
    for number in itertools.count():
        whole = connect()
        cut = whole[: number % len(whole)] + bytes([number & 0xFF] * 8)
        attacker.dial(first=whole + bad[number // 2 % len(bad)] if number % 2 else cut)
        yield


def login_guessing(attacker):
    for number in itertools.count():
        attacker.dial("users", first=connect(f"guess{number}", user="alice", password=f"guess {number}"))
        yield


def tls_handshakes(attacker):
    context = ssl.create_default_context(cafile=os.path.join(attacker.folder, "certs", "ca.pem"))
    for number in itertools.count():
        link = attacker.dial("tls", keeps=False)
        link.settimeout(5)
        try:
            with context.wrap_socket(link, server_hostname="localhost"):
                pass
        except OSError:
            attacker.failed += 1
        yield


def websocket_flood(attacker):
    head = "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    head += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    hello = connect()
    frame = b"\x82" + bytes([0x80 | len(hello)]) + bytes(4) + hello
    many = b"".join(b"\x82\x81\0\0\0\0" + hello[at : at + 1] for at in range(len(hello)))
    begun = deque()
    for number in itertools.count():
        begun.append((attacker.dial("ws", first=head.encode()), (b"", frame, many, b"\x81\x80\0\0\0\0" * 100)[number % 4]))
        if len(begun) > 50:  # its answer has come by now
            send(attacker, *begun.popleft())
        yield


def queue_abuse(attacker):
    """Work that nobody acknowledges, put into queues and taken by consumers that vanish."""
    source = attacker.client("boss")
    for number in itertools.count():
        if number % 50 == 0:
            queue = number // 50 % 20
            attacker.dial(first=connect() + subscribe(1, [f"$queue/abuse{queue}/abuse/{queue}/#"]))
        send(attacker, source, publish(f"abuse/{number % 20}/x", b"x" * 256))
        yield


def will_storm(attacker):
    audience = [attacker.client(f"mourner{number}") for number in range(10)]
    for link in audience:
        send(attacker, link, subscribe(1, ["will/#"]))
    for number in itertools.count():
        attacker.dial(first=connect(will=f"will/{number}"))
        if number % 100 == 0:
            for link in audience:
                drain(link)
        yield


# Name: what it does, how often a second, and how many connections it holds at once.
ATTACKS = {
    "connect-flood": (connect_flood, 300, 100),
    "half-open": (half_open, 200, 5000),
    "slow-connect": (slow_connect, 500, 500),
    "huge-packets": (huge_packets, 200, 2000),
    "subscribe-storm": (subscribe_storm, 100, 10),
    "retained-flood": (retained_flood, 1000, 20),
    "take-over-storm": (take_over_storm, 200, 100),
    "slow-subscribers": (slow_subscribers, 100, 1),
    "malformed": (malformed, 300, 100),
    "login-guessing": (login_guessing, 10, 500),
    "tls-handshakes": (tls_handshakes, 50, 1),
    "websocket-flood": (websocket_flood, 200, 500),
    "queue-abuse": (queue_abuse, 500, 200),
    "will-storm": (will_storm, 200, 50),
}
# The things are done this many times a second together, so that the process sleeps in between.
TURNS = 100


def yield_to_all():
    """From now on this process runs when a core has nothing else to do, and whoever wakes there takes it at once."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def turn(late, rate):
    """How many of those that are due are done now, and how many never: who is a second late does not make up for it in a burst."""
    now = min(late, 2 * rate // TURNS + 1)
    return now, late - now if late > rate else 0


def attack(name, ports, folder):
    """Runs until SIGTERM, then tells what it did."""
    yield_to_all()
    make, rate, held = ATTACKS[name]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    attacker = Attacker(ports, folder, held)
    act = make(attacker)
    begun, done, skipped = time.monotonic(), 0, 0
    while not stopped:
        now, skips = turn(int((time.monotonic() - begun) * rate) - done - skipped, rate)
        for _ in range(now):
            next(act)
        done, skipped = done + now, skipped + skips
        time.sleep(1 / TURNS)
    used, seconds = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - begun
    told = {"per_second": done / seconds, "failed": attacker.failed, "cpu": (used.ru_utime + used.ru_stime) / seconds}
    print(json.dumps(told), flush=True)


# The sink -----------------------------------------------------------------------------------------------------------------------

CONNACK = b"\x20\x03\0\0\0"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"


async def swallow(reader, writer):
    """Answers what an attack waits for, once, and reads on until it goes."""
    try:
        first = await reader.read(1 << 16)
        if first[:1] in (b"\x10", b"G"):
            writer.write(CONNACK if first[0] == 0x10 else UPGRADED)
        while await reader.read(1 << 16):
            pass
    except OSError:
        pass
    writer.close()


async def sink(folder):
    """The doors of the broker, and nothing behind them; tells their ports and runs until it is killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "certs", "server.pem"), os.path.join(folder, "certs", "server-key.pem"))
    ports = {}
    for door in ("tcp", "users", "ws", "tls"):
        server = await asyncio.start_server(swallow, "127.0.0.1", 0, backlog=4096, ssl=context if door == "tls" else None)
        ports[door] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.Event().wait()


def serve_sink(folder):
    yield_to_all()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    asyncio.run(sink(folder))


# Runs ---------------------------------------------------------------------------------------------------------------------------

CONFIG = """
[auth]
allow_anonymous = true
[[listeners]]
name = "tcp"
url = "tcp://127.0.0.1:0"
[[listeners]]
name = "users"
url = "tcp://127.0.0.1:0"
password_file = "{folder}/users"
[[listeners]]
name = "ws"
url = "ws://127.0.0.1:0/mqtt"
[[listeners]]
name = "tls"
url = "tls://127.0.0.1:0"
[listeners.tls]
certificate = "{folder}/certs/server.pem"
key = "{folder}/certs/server-key.pem"
[work_queues]
auto_create = "anybody"
"""


class Broker:
    def __init__(self, dunlin, folder, stack):
        run = lambda *args, **more: subprocess.run([dunlin, *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
        run("certs", f"{folder}/certs")
        run("passwd", "--stdin", f"{folder}/users", "alice", input=b"secret\n")
        with open(f"{folder}/dunlin.toml", "w") as file:
            file.write(CONFIG.format(folder=folder))
        log = stack.enter_context(open(f"{folder}/log", "wb"))
        command = [dunlin, "--config", f"{folder}/dunlin.toml", "--data-dir", f"{folder}/data", "--log-format", "json"]
        self.process = started(stack, [*command, "--admin", "127.0.0.1:0"], stderr=log)
        self.ports = self.wait(f"{folder}/log")

    def wait(self, log):
        ports = {}
        for _ in range(200):
            time.sleep(0.05)
            with open(log) as file:
                lines = [json.loads(line) for line in file if line.startswith("{") and line.endswith("}\n")]
            for line in lines:
                if line["message"] == "admin listening":
                    self.admin = line["address"]
                if line["message"] == "listening":
                    ports[line["listener"]] = int(line["address"].rsplit(":", 1)[1])
            if any(line["message"] == "ready" for line in lines):
                return ports
        with open(log) as file:
            raise ChildProcessError(f"the broker does not start; it said last: {file.read()[-300:]}")

    def limits(self):
        """Those that were hit, and how often."""
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=30) as page:
            series = (line.split() for line in page.read().decode().splitlines() if line.startswith("dunlin_limit_hits_total"))
            return {name.split('"')[1]: int(float(value)) for name, value in series if float(value)}


def started(stack, command, **more):
    """A process that is killed and waited for with the stack, whatever ends that."""
    process = stack.enter_context(subprocess.Popen(command, **more))
    stack.callback(process.kill)
    return process


def helper(stack, *args):
    """Another process of this program, whose answer is read."""
    return started(stack, [sys.executable, __file__, *args], stdout=subprocess.PIPE, text=True)


def answer(process, what):
    """The line that a helper says."""
    line = process.stdout.readline()
    if not line:
        raise ChildProcessError(f"{what} has died")
    return json.loads(line)


def busy_seconds():
    """What all processes of this machine have used, and of that those that this one has started and waited for."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _io, irq, softirq = map(int, file.readline().split()[1:8])
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - own.ru_utime - own.ru_stime


def measure(options, name, on_sink):
    """What was found in one run, and how many of the machine's cores were busy with something else meanwhile."""
    begun, others = time.monotonic(), busy_seconds()
    report, told = run_beside(options, name, on_sink)
    report["others"] = (busy_seconds() - others) / (time.monotonic() - begun)
    return report, told


def run_beside(options, name, on_sink):
    """The healthy clients' report, and what the attacker told; it attacks the sink instead of the broker if it is to."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="siege-"))
        broker = Broker(options.dunlin, folder, stack)
        ports = answer(helper(stack, "--sink", "--folder", folder), "the sink") if on_sink else broker.ports
        attacker = told = None
        if name:
            attacker = helper(stack, "--attack", name, "--ports", json.dumps(ports), "--folder", folder)
        report = healthy_clients(options, broker, f"{folder}/report.json")
        if broker.process.poll() is not None:
            raise ChildProcessError("the broker has ended")
        if attacker:
            attacker.terminate()
            told = {**answer(attacker, "the attacker"), "limits": broker.limits()}
        return report, told


def healthy_clients(options, broker, file_name):
    """Their report, which is there and has latencies, or nothing can be said."""
    load = ["-p", broker.ports["tcp"], "-q", 1, "-c", 10, "--rate", options.rate, "--threads", 1]
    times = ["--warmup", "2s", "--duration", f"{options.seconds}s", "--pid", broker.process.pid]
    command = [options.dunlin, "bench", "p2p", *load, *times, "--quiet", "--json", file_name]
    healthy = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if healthy.returncode:
        print(healthy.stdout, file=sys.stderr)
    with open(file_name) as file:
        report = json.load(file)
    if not report["latency_us"]:
        raise ChildProcessError("nothing came to the healthy clients")
    return report


def row(name, runs, alone, sunk=()):
    """Medians of the rounds; `sunk` are those with the attack on the sink."""
    middle = lambda figure: statistics.median(figure(report, told) for report, told in runs)
    at = {key: middle(lambda report, _: report["latency_us"][key]) for key in ("p50", "p99", "p99_9")}
    healthy = runs[0][0]["phases"][-1]
    found = {
        "name": name,
        "latency_us": at,
        "ratio": {key: at[key] / alone[key] for key in at} if alone else None,
        "sink": against_sink(at, alone, [report["latency_us"]["p99"] for report, _ in sunk]) if sunk else None,
        "rounds_p99_us": [report["latency_us"]["p99"] for report, _ in runs],
        "lost": sum(report["messages"]["lost"] for report, _ in runs),
        "problems": sorted({problem for report, _ in runs for problem in report["problems"]}),
        "others_cores": middle(lambda report, _: report["others"]),
        "broker_cpu_percent": middle(lambda report, _: report["phases"][-1]["broker"]["cpu_percent"]) if healthy["broker"] else None,
    }
    if runs[0][1]:
        found["attack"] = {key: middle(lambda _, told: told[key]) for key in ("per_second", "failed", "cpu")}
        found["limits"] = runs[0][1]["limits"]
    return found


def against_sink(at, alone, rounds):
    """How the p99 beside the attack compares with that beside the same attack on somebody else."""
    p99 = statistics.median(rounds)
    # A sink that helps is noise.
    return {"p99": p99, "ratio": p99 / alone["p99"], "broker_ratio": at["p99"] / max(p99, alone["p99"]), "rounds_p99_us": rounds}


# What other programs may use of the cores, before it is said that the figures suffer.
QUIET = 0.1
HEAD = ("", "p50 µs", "p99 µs", "p99.9 µs", "p99 ×", "p99.9 ×", "sink ×", "broker's ×", "lost", "its CPU", "attacks/s", "their CPU", "others")


def show(cells):
    print(f"{cells[0]:<17}" + "".join(f"{cell:>10}" for cell in cells[1:]), flush=True)


def show_row(found):
    at, ratio, attacked = found["latency_us"], found["ratio"], found.get("attack")
    cells = [found["name"], *(f"{at[key]:.0f}" for key in ("p50", "p99", "p99_9"))]
    cells += [f"{ratio['p99']:.2f}", f"{ratio['p99_9']:.2f}"] if ratio else ["", ""]
    cells += [f"{found['sink']['ratio']:.2f}", f"{found['sink']['broker_ratio']:.2f}"] if found["sink"] else ["", ""]
    cells += [str(found["lost"]), f"{found['broker_cpu_percent'] or 0:.0f} %"]
    cells += [f"{attacked['per_second']:.0f}", f"{100 * attacked['cpu']:.0f} %"] if attacked else ["", ""]
    cells += [f"{100 * found['others_cores']:.0f} %"]
    show(cells)
    if found.get("limits"):
        print("    limits: " + ", ".join(f"{name} {count}" for name, count in sorted(found["limits"].items())))
    for problem in found["problems"]:
        print(f"    {problem}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="attacks: " + ", ".join(ATTACKS))
    parser.add_argument("--dunlin", default="target/release/dunlin", help="the program [target/release/dunlin]")
    parser.add_argument("--rate", type=int, default=2000, help="healthy messages a second [2000]")
    parser.add_argument("--seconds", type=int, default=10, help="measured time of one run [10]")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each; medians are told [1]")
    parser.add_argument("--only", action="append", choices=ATTACKS, help="this attack, can be given several times [all]")
    parser.add_argument("--no-sink", action="store_true", help="leave out the runs with the attack on the sink")
    parser.add_argument("--json", help="write all figures to this file")
    for hidden in ("--attack", "--ports", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack:
        return attack(options.attack, json.loads(options.ports), options.folder)
    if options.sink:
        return serve_sink(options.folder)
    # As Ctrl-C does: what was started is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    names = options.only or list(ATTACKS)
    # Rounds go round, so that a machine that is busy for a while does not fall on one attack.
    sinks = [False] if options.no_sink else [False, True]
    runs = {key: [] for key in [(None, False), *itertools.product(names, sinks)]}
    failures = []
    for number in range(options.rounds):
        for name, on_sink in runs:
            what = f"round {number + 1}: {name or 'alone'}{' on the sink' if on_sink else ''}"
            if sys.stderr.isatty():
                print(f"{what} ...", file=sys.stderr)
            try:
                runs[name, on_sink].append(measure(options, name, on_sink))
            except (OSError, subprocess.CalledProcessError) as failure:  # the other runs tell something all the same
                failures.append(f"{what}: {failure}")
                print(failures[-1], file=sys.stderr)
    if not runs[None, False] or not any(runs[name, False] for name in names):
        sys.exit("too few runs have come to their ends: there is nothing to compare")
    rows = [row("alone", runs[None, False], None)]
    rows += [row(name, runs[name, False], rows[0]["latency_us"], runs.get((name, True), ())) for name in names if runs[name, False]]
    show(HEAD)
    for found in rows:
        show_row(found)
    if options.json:
        with open(options.json, "w") as file:
            settings = ("rate", "seconds", "rounds")
            json.dump({**{key: getattr(options, key) for key in settings}, "rows": rows, "failures": failures}, file, indent=2)
    ratio = lambda found: found["sink"]["broker_ratio"] if found["sink"] else found["ratio"]["p99"]
    worst = max(rows[1:], key=ratio)
    beside = "without an attack" if options.no_sink else "without an attack, or with it on the sink"
    print(f"\nThe worst p99 is {ratio(worst):.2f} times that {beside}: {worst['name']}.")
    others = max(found["others_cores"] for found in rows)
    if others > QUIET:
        print(f"Other programs have used {100 * others:.0f} % of a core: the figures are no better than that.")
    return 1 if ratio(worst) > 2 or any(found["lost"] for found in rows) or failures else 0


if __name__ == "__main__":
    sys.exit(main())
