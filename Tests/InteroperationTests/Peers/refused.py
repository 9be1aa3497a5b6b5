# SPDX-License-Identifier: Apache-2.0
"""Logs in at URLs where that should fail, and prints how it does."""
import sys

import pika
from pika.exceptions import AMQPConnectionError

for url in sys.argv[1:]:
    try:
        pika.BlockingConnection(pika.URLParameters(url)).close()
        print("connected")
    except AMQPConnectionError as error:
        print(type(error).__name__, getattr(error, "reply_code", ""), getattr(error, "reply_text", ""))
