# SPDX-License-Identifier: Apache-2.0
"""Sends requests that name themselves in different ways, and prints what the replies are called."""
import os
import sys
import time

import pika

requests = [("m", None), (None, "c"), ("m", "c"), (None, None), ("", "c"), ("", "")]
replies = []


def replied(channel, method, reply, body):
    replies.append(f"{reply.correlation_id} {reply.message_id} {body.decode()}")


with pika.BlockingConnection(pika.URLParameters(os.environ["HAREDO_BROKER"])) as connection:
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_consume(queue, replied, auto_ack=True)
    deadline = time.monotonic() + 10
    for message_id, correlation_id in requests:
        properties = pika.BasicProperties(reply_to=queue, message_id=message_id, correlation_id=correlation_id)
        channel.basic_publish("", sys.argv[1], f"{message_id} {correlation_id}".encode(), properties)
        while not replies:
            assert time.monotonic() < deadline, f"no reply to {message_id} {correlation_id}"
            connection.process_data_events(time_limit=1)
        print(replies.pop())
