# SPDX-License-Identifier: Apache-2.0
"""Does with a broker what pika can do with one, and says what came of it; broker.rb says the same.

    broker.py NAME    a prefix for queues and exchanges
"""
import os
import sys
import time

import pika
from pika.exceptions import ChannelClosedByBroker, UnroutableError

name = sys.argv[1]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["HAREDO_BROKER"]))
channel = connection.channel()


def refused(what, body):
    """What the broker closes a channel for."""
    channel = connection.channel()
    try:
        body(channel)
        print(what, "worked")
    except ChannelClosedByBroker as error:
        print(what, error.reply_code)
    assert channel.is_closed and connection.is_open


def wait(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        connection.process_data_events(time_limit=0.1)


# Queues and what is in them.
declared = channel.queue_declare(name, durable=True).method
print("declared", declared.queue == name, declared.message_count, declared.consumer_count)
refused("missing", lambda channel: channel.queue_declare(name + ".missing", passive=True))
refused("inequivalent", lambda channel: channel.queue_declare(name, durable=False))
refused("no exchange", lambda channel: channel.queue_bind(name, name + ".missing", "key"))

# Publisher confirms and returns.
channel.confirm_delivery()
for number in range(1, 6):
    channel.basic_publish("", name, f"{number}".encode(), pika.BasicProperties(delivery_mode=2), mandatory=True)
print("confirmed", channel.queue_declare(name, passive=True).method.message_count)
try:
    channel.basic_publish("", name + ".nowhere", b"back", mandatory=True)
except UnroutableError as error:
    [returned] = error.messages
    print("returned", returned.method.reply_code, returned.method.reply_text, returned.body.decode())

# Get, acknowledge, put back.
method, properties, body = channel.basic_get(name)
print("got", body.decode(), method.redelivered, method.message_count, properties.delivery_mode)
channel.basic_ack(method.delivery_tag)
for requeue in (channel.basic_nack, channel.basic_reject):
    method, _, body = channel.basic_get(name)
    print("got", body.decode(), method.redelivered)
    requeue(method.delivery_tag, requeue=True)

# Consume, two at a time.
deliveries = []
channel.basic_qos(prefetch_count=2)
tag = channel.basic_consume(name, lambda channel, method, properties, body: deliveries.append((method, body.decode())))
wait(lambda: len(deliveries) == 2)
print("delivered", [body for _, body in deliveries], channel.queue_declare(name, passive=True).method.message_count)
channel.basic_nack(deliveries[0][0].delivery_tag, requeue=True)
wait(lambda: len(deliveries) == 3)
print("again", deliveries[2][1], deliveries[2][0].redelivered)
channel.basic_ack(deliveries[2][0].delivery_tag, multiple=True)
wait(lambda: len(deliveries) == 5)
print("delivered", [body for _, body in deliveries[3:]])
channel.basic_cancel(tag)
status = channel.queue_declare(name, passive=True).method
print("cancelled", status.message_count, status.consumer_count)
other = connection.channel()
refused("unknown tag", lambda channel: (channel.basic_ack(99), channel.queue_declare(name, passive=True)))
channel.close()  # puts back what was not acknowledged
wait(lambda: other.queue_declare(name, passive=True).method.message_count == 2)
method, _, body = other.basic_get(name, auto_ack=True)
print("back", body.decode(), method.redelivered)
print("purged", other.queue_purge(name).method.message_count)
print("empty", other.basic_get(name)[0])

# A queue that goes takes its consumers along.
gone = []
other.add_on_cancel_callback(lambda frame: gone.append(frame.method.consumer_tag))
tag = other.basic_consume(name, lambda *_: None)
third = connection.channel()
print("deleted", third.queue_delete(name).method.message_count)
wait(lambda: gone)
print("cancelled by the broker", gone == [tag])

# Exchanges and bindings.
queue = third.queue_declare("", exclusive=True).method.queue
print("named", queue.startswith("amq.gen-"))
second = pika.BlockingConnection(pika.URLParameters(os.environ["HAREDO_BROKER"]))
try:
    second.channel().queue_declare(queue, passive=True)
except ChannelClosedByBroker as error:
    print("locked", error.reply_code)
second.close()
refused("in use", lambda channel: (channel.basic_consume(queue, lambda *_: None),
                                   channel.queue_delete(queue, if_unused=True)))
for kind, binding, key in [("direct", "a", "a"), ("fanout", "", "b"), ("topic", "a.*.#", "a.b.c")]:
    exchange = f"{name}.{kind}"
    third.exchange_declare(exchange, kind, auto_delete=True)
    third.queue_bind(queue, exchange, binding)
    third.basic_publish(exchange, key, kind.encode())
    wait(lambda: third.queue_declare(queue, passive=True).method.message_count == 1)
    method, _, body = third.basic_get(queue, auto_ack=True)
    print("routed", body.decode(), method.routing_key, method.exchange == exchange)
    third.queue_unbind(queue, exchange, binding)
headers = f"{name}.headers"
third.exchange_declare(headers, "headers")
third.queue_bind(queue, headers, "", {"x-match": "all", "number": 1, "text": "größe"})
third.confirm_delivery()
third.basic_publish(headers, "", b"x", pika.BasicProperties(headers={"number": 1, "text": "größe"}), mandatory=True)
print("routed", third.queue_declare(queue, passive=True).method.message_count)
third.exchange_delete(headers)

# Get, and give back by asking for all again.
third.basic_get(queue)
third.basic_recover(requeue=True)
method, _, body = third.basic_get(queue, auto_ack=True)
print("recovered", body.decode(), method.redelivered)

# Many, in order.
bodies = [str(number).encode() * (number % 50) for number in range(300)]
for body in bodies:
    third.basic_publish("", queue, body)
consumed = third.consume(queue, auto_ack=True, inactivity_timeout=10)
print("many", [next(consumed)[2] for _ in bodies] == bodies)
third.cancel()
refused("taken", lambda channel: (channel.basic_consume(queue, lambda *_: None, exclusive=True),
                                  channel.basic_consume(queue, lambda *_: None)))

# Transactions.
fourth = connection.channel()
fourth.tx_select()
for body in (b"kept", b"dropped"):
    fourth.basic_publish("", queue, body)
    print("before", third.queue_declare(queue, passive=True).method.message_count)
    fourth.tx_commit() if body == b"kept" else fourth.tx_rollback()
    print("after", third.queue_declare(queue, passive=True).method.message_count)
connection.close()
print("closed", connection.is_closed)
