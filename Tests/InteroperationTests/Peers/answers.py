# SPDX-License-Identifier: Apache-2.0
"""A service that names its replies as the request's body says."""
import os
import signal
import sys

import pika

signal.signal(signal.SIGTERM, lambda *_: sys.exit())


def serve(channel, method, request, body):
    names = {
        "correlation": {"correlation_id": request.correlation_id},
        "message": {"message_id": request.message_id},
        "both": {"correlation_id": request.message_id, "message_id": request.message_id},
        "neither": {},
    }[body.decode()]
    channel.basic_publish("", request.reply_to, body, pika.BasicProperties(**names))
    channel.basic_ack(method.delivery_tag)


with pika.BlockingConnection(pika.URLParameters(os.environ["HAREDO_BROKER"])) as connection:
    channel = connection.channel()
    channel.queue_declare(sys.argv[1], exclusive=True)
    channel.basic_consume(sys.argv[1], serve)
    print("ready")
    channel.start_consuming()
