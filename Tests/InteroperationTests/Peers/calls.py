# SPDX-License-Identifier: Apache-2.0
"""Calls an echo service with bodies of the given sizes, all at once, and says how many came back whole.

    calls.py ADDRESS REPLY-QUEUE SIZE...    REPLY-QUEUE: amq.rabbitmq.reply-to, or the name of one to declare
"""
import os
import sys
import time

import pika

address, reply_to, sizes = sys.argv[1], sys.argv[2], [int(size) for size in sys.argv[3:]]
waiting = {}
whole = 0


def replied(channel, method, reply, body):
    global whole
    expected = waiting.pop(reply.correlation_id)
    assert body == expected, f"{len(body)} bytes instead of {len(expected)}, or others"
    assert reply.headers["größe"] == len(body), reply.headers
    assert reply.user_id == "guest", reply.user_id
    whole += 1


with pika.BlockingConnection(pika.URLParameters(os.environ["HAREDO_BROKER"])) as connection:
    channel = connection.channel()
    if reply_to != "amq.rabbitmq.reply-to":
        channel.queue_declare(reply_to, exclusive=True)
    channel.basic_consume(reply_to, replied, auto_ack=True)
    for index, size in enumerate(sizes):
        body = bytes((index + position * position // 255) % 256 for position in range(min(size, 65_536)))
        body = (body * (size // 65_536 + 1))[:size]
        waiting[f"ü{index}"] = body
        properties = pika.BasicProperties(
            reply_to=reply_to, correlation_id=f"ü{index}", message_id=f"ü{index}", headers={"größe": size}
        )
        channel.basic_publish("", address, body, properties)
    deadline = time.monotonic() + 15
    while waiting:
        assert time.monotonic() < deadline, f"no reply to {list(waiting)}"
        connection.process_data_events(time_limit=1)
print(f"{whole} whole")
