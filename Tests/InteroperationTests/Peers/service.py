# SPDX-License-Identifier: Apache-2.0
"""A service that HareDo peers can call: it adds one to the header "i"."""
import os
import signal
import sys

import pika

signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that the connection is closed in order


def serve(channel, method, request, body):
    if request.reply_to:  # absent if the sender wants no reply
        channel.basic_publish(
            exchange="",
            routing_key=request.reply_to,
            body=str(request.headers["i"] + 1),
            properties=pika.BasicProperties(correlation_id=request.correlation_id),
        )
    channel.basic_ack(method.delivery_tag)


with pika.BlockingConnection(pika.URLParameters(os.environ["HAREDO_BROKER"])) as connection:
    channel = connection.channel()
    channel.queue_declare(sys.argv[1], exclusive=True)
    channel.basic_qos(prefetch_count=16)
    channel.basic_consume(sys.argv[1], serve)
    print("ready")
    channel.start_consuming()
