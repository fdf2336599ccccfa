"""aiomqtt, many clients at once: aiomqtt_many.py SCENARIO TCP_PORT WEBSOCKET_PORT."""

import asyncio
import sys

import aiomqtt

PATIENCE = 60
CLIENTS = 100


def client(port, number, **more):
    version = aiomqtt.ProtocolVersion.V5 if number % 2 else aiomqtt.ProtocolVersion.V311
    return aiomqtt.Client("127.0.0.1", port, identifier=f"client{number}", protocol=version, timeout=PATIENCE, **more)


async def take(peer, count):
    """The next messages of a client, as (topic, payload)."""
    got = []
    async for message in peer.messages:
        got.append((message.topic.value, message.payload.decode()))
        if len(got) == count:
            return got


async def many_clients(port):
    """A ring: each client sends to the next one with every QoS, all at the same time."""
    ready = asyncio.Barrier(CLIENTS)

    async def member(number):
        async with client(port, number) as peer:
            await peer.subscribe(f"ring/{number}", qos=2)
            await ready.wait()
            following = (number + 1) % CLIENTS
            for n in range(30):
                await peer.publish(f"ring/{following}", f"{number} {n}", qos=n % 3)
            got = await take(peer, 30)
            before = (number - 1) % CLIENTS
            # The order holds within a QoS; QoS 2 messages are handed over a round trip later.
            for qos in range(3):
                wanted = [(f"ring/{number}", f"{before} {n}") for n in range(qos, 30, 3)]
                there = [message for message in got if int(message[1].split()[1]) % 3 == qos]
                assert there == wanted, f"client {number}, QoS {qos}: {there}"
            await ready.wait()

    await asyncio.gather(*(member(number) for number in range(CLIENTS)))
    print(f"{CLIENTS} clients sent 30 messages each to the next one")


async def everyone_hears_everyone(port):
    """One topic: each message reaches all clients, those of one sender in order."""
    ready = asyncio.Barrier(CLIENTS)

    async def member(number):
        async with client(port, number) as peer:
            await peer.subscribe("all/+", qos=1)
            await ready.wait()
            for n in range(3):
                await peer.publish(f"all/{number}", str(n), qos=1)
            got = await take(peer, 3 * CLIENTS)
            for sender in range(CLIENTS):
                there = [text for topic, text in got if topic == f"all/{sender}"]
                assert there == ["0", "1", "2"], f"client {number} from {sender}: {there}"
            await ready.wait()

    await asyncio.gather(*(member(number) for number in range(CLIENTS)))
    print(f"{3 * CLIENTS} messages reached each of {CLIENTS} clients")


async def main(name, port):
    scenarios = {scenario.__name__: scenario for scenario in (many_clients, everyone_hears_everyone)}
    await asyncio.wait_for(scenarios[name](port), PATIENCE)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
