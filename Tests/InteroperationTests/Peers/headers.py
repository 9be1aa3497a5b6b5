# SPDX-License-Identifier: Apache-2.0
"""Sends headers of every type that pika can write, and prints those of the reply.

    headers.py ADDRESS QUEUE    the service to call, and a queue to which the same message goes
"""
import os
import sys
import time
from datetime import datetime
from decimal import Decimal

import pika

sent = {
    "text": "größe 🐇",
    "schlüssel": "",
    "true": True,
    "small": 7,
    "negative": -7,
    "large": 2**40,
    "bytes": b"\x00\xff",
    "decimal": Decimal("3.14"),
    "time": datetime(2023, 11, 14, 22, 13, 20),
    "list": [1, "two", [None, False]],
    "map": {"inner": {"deep": 1}},
    "none": None,
}


def replied(channel, method, reply, body):
    for name, value in sorted(reply.headers.items()):
        print(name, type(value).__name__, value if type(value) is int else repr(value))
    connection.close()


connection = pika.BlockingConnection(pika.URLParameters(os.environ["HAREDO_BROKER"]))
channel = connection.channel()
channel.basic_consume("amq.rabbitmq.reply-to", replied, auto_ack=True)
for address in sys.argv[1:]:
    channel.basic_publish("", address, b"", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", headers=sent))
deadline = time.monotonic() + 10
while connection.is_open:
    assert time.monotonic() < deadline, "no reply"
    connection.process_data_events(time_limit=1)
