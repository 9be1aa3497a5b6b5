# SPDX-License-Identifier: Apache-2.0
"""An echo that names its replies as the request's body says; or it tells what it sees of the request."""
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
    }.get(body.decode("latin-1"), {"correlation_id": request.correlation_id})
    if body == b"report":
        body = " ".join([
            "direct" if request.reply_to.startswith("amq.rabbitmq.reply-to.") else request.reply_to,
            "same" if request.message_id == request.correlation_id else "different",
            "expires" if request.expiration and 0 < int(request.expiration) <= 10_000 else f"{request.expiration}",
            f"{request.delivery_mode} {request.user_id} {request.content_type} {sorted(request.headers or {})}",
        ])
    channel.basic_publish("", request.reply_to, body, pika.BasicProperties(**names))
    channel.basic_ack(method.delivery_tag)


with pika.BlockingConnection(pika.URLParameters(os.environ["HAREDO_BROKER"])) as connection:
    channel = connection.channel()
    channel.queue_declare(sys.argv[1], exclusive=True)
    channel.basic_consume(sys.argv[1], serve)
    print("ready")
    channel.start_consuming()
