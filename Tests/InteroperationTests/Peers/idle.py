# SPDX-License-Identifier: Apache-2.0
"""Does nothing for longer than heartbeats allow, and then something."""
import os

import pika

parameters = pika.URLParameters(os.environ["HAREDO_BROKER"])
parameters.heartbeat = 2
with pika.BlockingConnection(parameters) as connection:
    channel = connection.channel()
    print("ready")
    connection.sleep(7)  # the broker hangs up when it reads nothing for two heartbeats, or three
    print("named", channel.queue_declare("", exclusive=True).method.queue.startswith("amq.gen-"))
