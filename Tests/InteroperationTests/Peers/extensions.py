# SPDX-License-Identifier: Apache-2.0
"""Does with py-amqp what RabbitMQ has beyond AMQP 0-9-1, and life cycles of queues; says what came of it.

    extensions.py NAME    a prefix for queues and exchanges
"""
import os
import sys
import time
import urllib.parse

import amqp
from amqp.exceptions import AMQPError

name = sys.argv[1]
url = urllib.parse.urlsplit(os.environ["HAREDO_BROKER"])


def connect():
    connection = amqp.Connection(
        f"{url.hostname}:{url.port}", userid=urllib.parse.unquote(url.username),
        password=urllib.parse.unquote(url.password), confirm_publish=False)
    connection.connect()
    return connection


connection = connect()
channel = connection.channel()


def publish(body, key, exchange="", on=channel, **properties):
    on.basic_publish(amqp.Message(body, **properties), exchange=exchange, routing_key=key)


def bodies(queue, count):
    """The next messages of a queue, which have to come."""
    found, deadline = [], time.monotonic() + 10
    while len(found) < count:
        message = channel.basic_get(queue, no_ack=True)
        if message:
            found.append(message)
        assert message or time.monotonic() < deadline, f"{found} and no more"
    return found


def length(queue):
    return channel.queue_declare(queue, passive=True).message_count


def refused(what, body):
    with connect() as other:
        on = other.channel()
        try:
            body(on)
            print(what, "worked")
        except AMQPError as error:
            print(what, error.reply_code, other.connected)


# Dead-lettering: rejected, expired, too many.
dead = channel.queue_declare("", exclusive=True).queue
letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
work = channel.queue_declare("", exclusive=True, arguments=letters).queue
publish("rejected", work)
message = channel.basic_get(work)
channel.basic_reject(message.delivery_tag, requeue=False)
[letter] = bodies(dead, 1)
[death] = letter.headers["x-death"]
print("dead", letter.body, death["reason"], death["count"], death["queue"] == work, death["routing-keys"] == [work],
      letter.headers["x-first-death-reason"])
short = channel.queue_declare("", exclusive=True, arguments={"x-message-ttl": 1, **letters}).queue
publish("expired", short)
print("dead", [(one.body, one.headers["x-death"][0]["reason"]) for one in bodies(dead, 1)])
full = channel.queue_declare("", exclusive=True, arguments={"x-max-length": 1, **letters}).queue
for body in ("old", "new"):
    publish(body, full)
print("dead", [(one.body, one.headers["x-death"][0]["reason"]) for one in bodies(dead, 1)], length(full))

# Priorities.
ranked = channel.queue_declare("", exclusive=True, arguments={"x-max-priority": 3}).queue
for body, priority in (("low", 0), ("high", 3), ("middle", 1)):
    publish(body, ranked, priority=priority)
print("ranked", [one.body for one in bodies(ranked, 3)])

# Alternate exchanges and exchange-to-exchange bindings.
other = f"{name}.other"
main = f"{name}.main"
inner = f"{name}.inner"
channel.exchange_declare(other, "fanout", auto_delete=False)
channel.exchange_declare(inner, "direct", auto_delete=False)
channel.exchange_declare(main, "topic", auto_delete=False, arguments={"alternate-exchange": other})
lost, found = (channel.queue_declare("", exclusive=True).queue for _ in range(2))
channel.queue_bind(lost, other)
channel.queue_bind(found, inner, "a.b")
channel.exchange_bind(inner, main, "a.#")
publish("routed", "a.b", main)
publish("unrouted", "z", main)
print("routes", [one.body for one in bodies(found, 1)], [one.body for one in bodies(lost, 1)])
for exchange in (main, inner, other):
    channel.exchange_delete(exchange)

# One active consumer.
single = channel.queue_declare("", exclusive=True, arguments={"x-single-active-consumer": True}).queue
first, second = [], []
channel.basic_consume(single, "first", no_ack=True, callback=lambda one: first.append(one.body))
channel.basic_consume(single, "second", no_ack=True, callback=lambda one: second.append(one.body))
for body in ("1", "2"):
    publish(body, single)
while len(first) < 2:
    connection.drain_events(timeout=10)
channel.basic_cancel("first")
publish("3", single)
while not second:
    connection.drain_events(timeout=10)
print("single", first, second)
channel.basic_cancel("second")

# Transactions: publishes and acknowledgements.
trial = connection.channel()
trial.tx_select()
queue = channel.queue_declare("", exclusive=True).queue
publish("a", queue, on=trial)
trial.tx_rollback()
publish("b", queue, on=trial)
trial.tx_commit()
message = trial.basic_get(queue)
trial.basic_ack(message.delivery_tag)
trial.tx_rollback()
trial.basic_recover(requeue=True)
message = trial.basic_get(queue)
print("transactions", message.body, message.delivery_info["redelivered"])
trial.basic_ack(message.delivery_tag)
trial.tx_commit()
trial.close()
print("committed", length(queue))
refused("tx after confirm", lambda on: (on.confirm_select(), on.tx_select()))
refused("confirm after tx", lambda on: (on.tx_select(), on.confirm_select()))
refused("commit alone", lambda on: on.tx_commit())

# Life cycles.
auto = f"{name}.auto"
channel.queue_declare(auto, durable=True, auto_delete=True)
refused("auto-delete stays", lambda on: on.queue_declare(auto, passive=True))
tag = channel.basic_consume(auto, callback=lambda one: None)
channel.basic_cancel(tag)
refused("auto-delete goes", lambda on: on.queue_declare(auto, passive=True))
with connect() as owner:
    mine = owner.channel().queue_declare(f"{name}.mine", exclusive=True).queue
    refused("locked", lambda on: on.queue_delete(mine))
refused("gone with its connection", lambda on: on.queue_declare(mine, passive=True))
refused("bad ttl", lambda on: on.queue_declare("", exclusive=True, arguments={"x-message-ttl": -1}))
refused("bad overflow", lambda on: on.queue_declare("", exclusive=True, arguments={"x-overflow": "x"}))
refused("bad tag", lambda on: (on.basic_ack(7), on.queue_declare("", exclusive=True)))
refused("default exchange", lambda on: on.exchange_delete(""))
refused("reserved", lambda on: on.exchange_declare("amq.mine", "direct"))
connection.close()
