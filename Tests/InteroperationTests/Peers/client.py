# SPDX-License-Identifier: Apache-2.0
"""Calls a HareDo service three times at once, and prints the replies."""
import os
import sys
import time
import uuid

import pika

waiting = {}  # what was asked, by correlation id


def replied(channel, method, reply, body):
    number = waiting.pop(reply.correlation_id, None)
    headers = reply.headers or {}
    if "haredo-error-code" in headers:
        print(number, "failed:", headers["haredo-error-code"], headers["haredo-error-text"])
    elif number is not None:
        print(number, "->", body.decode())


with pika.BlockingConnection(pika.URLParameters(os.environ["HAREDO_BROKER"])) as connection:
    channel = connection.channel()
    # Replies come straight to this channel. A queue works too: channel.queue_declare("", exclusive=True)
    channel.basic_consume("amq.rabbitmq.reply-to", replied, auto_ack=True)
    for number in (1, 2, 3):
        correlation_id = str(uuid.uuid4())
        waiting[correlation_id] = number
        channel.basic_publish(
            exchange="",
            routing_key=sys.argv[1],
            body=b"",
            properties=pika.BasicProperties(
                reply_to="amq.rabbitmq.reply-to", correlation_id=correlation_id, headers={"i": number}
            ),
        )
    deadline = time.monotonic() + 10
    while waiting and time.monotonic() < deadline:
        connection.process_data_events(time_limit=1)
    for number in waiting.values():
        print(number, "no reply in time")
