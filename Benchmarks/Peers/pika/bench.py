#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What pika costs:

    PROGRAM publish|consume|rpc --count N --size BYTES [--concurrency N] --broker URL

Prints one JSON object, as `haredo bench ... --json` does.

On SelectConnection, pika's fastest: BlockingConnection runs its loop once for every message. The operations are
generators: what they yield is a function that begins something and takes the callback with which they go on.
"""
import argparse
import collections
import json
import struct
import sys
import time

import pika
from pika.adapters.select_connection import IOLoop

PREFETCH = 500
PER_ACK = 100
REPLY_TO = "amq.rabbitmq.reply-to"
NOWHERE = "haredo.bench.nowhere"
TRANSIENT = pika.BasicProperties(delivery_mode=1)
BATCH = 100  # published before the loop may write and read
HIGH_WATER_MARK = 1 << 20  # bytes that may wait to be written: pika itself has no bound

# What was measured: of the span only, not of what prepares it.
Result = collections.namedtuple("Result", "seconds cpu_seconds latencies")


class Failure(Exception):
    """What makes a run worthless."""


class Span:
    def __init__(self):
        self.start, self.cpu_start = time.perf_counter(), time.process_time()

    def end(self, latencies=None):
        # process_time: user and system, of all threads.
        return Result(time.perf_counter() - self.start, time.process_time() - self.cpu_start, latencies)


class Signal:
    """Something that is waited for once, and may have happened before."""

    def __init__(self):
        self.fired, self.callback = False, None

    def fire(self):
        self.fired = True
        if self.callback:
            self.callback()

    def wait(self, callback):
        self.callback = callback
        if self.fired:
            callback()


def run(loop, generator):
    """Runs an operation to its end, and returns its result."""
    results = []

    def step(value=None, *_):
        try:
            begin = generator.send(value)
        except StopIteration as end:
            results.append(end.value)
            loop.stop()
        else:
            begin(step)

    loop.call_later(0, step)
    loop.start()
    return results[0]


def ended(_, reason):
    by_us = (pika.exceptions.ConnectionClosedByClient, pika.exceptions.ChannelClosedByClient)
    if not isinstance(reason, by_us):
        raise Failure(f"closed: {reason!r}")


def open_channel(loop, url):
    connection = yield lambda done: pika.SelectConnection(
        pika.URLParameters(url), on_open_callback=done, on_open_error_callback=ended, on_close_callback=ended,
        custom_ioloop=loop)
    channel = yield lambda done: connection.channel(on_open_callback=done)
    channel.add_on_close_callback(ended)
    return channel


def close(channel):
    def begin(done):
        channel.connection.add_on_close_callback(done)
        channel.connection.close()

    yield begin


def round_trip(channel, prefetch=PREFETCH):
    """The broker answers only after what was sent on the channel before."""
    yield lambda done: channel.basic_qos(prefetch_count=prefetch, callback=done)


def publish_many(loop, channel, queue, body, count):
    for made in range(1, count + 1):
        channel.basic_publish("", queue, body, TRANSIENT)
        if made % BATCH == 0:
            yield lambda done: loop.call_later(0, done)
            # pylint: disable=protected-access # BlockingConnection asks the same, and there is no other way to know
            while channel.connection._get_write_buffer_size() > HIGH_WATER_MARK:
                yield lambda done: loop.call_later(0.002, done)


def publish(loop, options):
    channel = yield from open_channel(loop, options.broker)
    body = b"x" * options.size
    yield from publish_many(loop, channel, NOWHERE, body, options.warmup)
    yield from round_trip(channel)
    span = Span()
    yield from publish_many(loop, channel, NOWHERE, body, options.count)
    yield from round_trip(channel)
    result = span.end()
    yield from close(channel)
    return result


def filled_queue(loop, channel, count, size):
    """An exclusive queue with `count` messages in it."""
    declared = yield lambda done: channel.queue_declare("", exclusive=True, callback=done)
    queue = declared.method.queue
    yield from publish_many(loop, channel, queue, b"x" * size, count)
    # The queue answers this question before it takes the messages that came earlier: ask until all are there.
    deadline = time.perf_counter() + 30
    while True:
        declared = yield lambda done: channel.queue_declare(queue, passive=True, exclusive=True, callback=done)
        there = declared.method.message_count
        if there == count:
            return queue
        if time.perf_counter() > deadline:
            raise Failure(f"{there} messages in the queue, not {count}")
        yield lambda done: loop.call_later(0.002, done)


def consume_many(loop, channel, count, size):
    queue = yield from filled_queue(loop, channel, count, size)
    all_here = Signal()
    got = last = 0

    def received(_, delivery, __, body):
        nonlocal got, last
        if len(body) != size:
            raise Failure(f"a body of {len(body)} bytes, not {size}")
        if delivery.delivery_tag <= last:
            raise Failure(f"delivery tag {delivery.delivery_tag} after {last}")
        last = delivery.delivery_tag
        got += 1
        if got % PER_ACK == 0 or got == count:
            channel.basic_ack(last, multiple=True)
            if got == count:
                all_here.fire()

    span = Span()
    yield from round_trip(channel)
    channel.basic_consume(queue, received, consumer_tag="bench")
    yield all_here.wait
    yield from round_trip(channel)
    result = span.end()
    yield lambda done: channel.basic_cancel("bench", callback=done)
    deleted = yield lambda done: channel.queue_delete(queue, callback=done)
    if deleted.method.message_count != 0:
        raise Failure(f"{deleted.method.message_count} messages were left")
    return result


def consume(loop, options):
    channel = yield from open_channel(loop, options.broker)
    yield from consume_many(loop, channel, options.warmup, options.size)
    result = yield from consume_many(loop, channel, options.count, options.size)
    yield from close(channel)
    return result


def served(channel, delivery, properties, body):
    """The service sends back what it was sent."""
    channel.basic_publish(
        "", properties.reply_to, body, pika.BasicProperties(correlation_id=properties.correlation_id))
    channel.basic_ack(delivery.delivery_tag)


class Caller:
    def __init__(self, channel, queue, size):
        self.channel, self.queue, self.size = channel, queue, size
        self.padding = b"x" * size
        self.sent, self.took = [], []

    def body(self, number):
        """The number of the call is its correlation id, and begins its body."""
        return (struct.pack("<Q", number) + self.padding)[: self.size]

    def call(self):
        number = len(self.sent)
        self.sent.append(time.perf_counter())
        self.channel.basic_publish(
            "", self.queue, self.body(number),
            pika.BasicProperties(correlation_id=str(number), reply_to=REPLY_TO))

    def received(self, _, __, properties, body):
        number = int(properties.correlation_id)
        if not 0 <= number < len(self.sent):
            raise Failure(f"a reply to call {number}, which was not made")
        if self.took[number] is not None:
            raise Failure(f"a second reply to call {number}")
        if body != self.body(number):
            raise Failure(f"call {number} was answered with something else than was sent")
        self.took[number] = (time.perf_counter() - self.sent[number]) * 1e6
        self.answered += 1
        if len(self.sent) < self.count:
            self.call()
        elif self.answered == self.count:
            self.all_here.fire()

    def call_many(self, count, in_flight):
        self.count, self.answered, self.all_here = count, 0, Signal()
        self.sent, self.took = [], [None] * count
        span = Span()
        for _ in range(min(count, in_flight)):
            self.call()
        yield self.all_here.wait
        return span.end(self.took)


def rpc(loop, options):
    # Two connections on one loop: with a thread each they would only wait for one another.
    service = yield from open_channel(loop, options.broker)
    yield from round_trip(service, options.concurrency)
    declared = yield lambda done: service.queue_declare("", exclusive=True, callback=done)
    queue = declared.method.queue
    yield lambda done: service.basic_consume(queue, served, callback=done)
    channel = yield from open_channel(loop, options.broker)
    caller = Caller(channel, queue, options.size)
    yield lambda done: channel.basic_consume(REPLY_TO, caller.received, auto_ack=True, callback=done)
    yield from caller.call_many(options.warmup, options.concurrency)
    result = yield from caller.call_many(options.count, options.concurrency)
    yield from close(channel)
    yield from close(service)
    return result


def percentiles(latencies):
    ordered = sorted(latencies)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1}
    return {name: round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 1)
            for name, share in shares.items()}


def main():
    operations = {"publish": publish, "consume": consume, "rpc": rpc}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operation", choices=operations)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--broker", required=True, metavar="URL")
    options = parser.parse_args()
    if options.count < 1 or options.size < 0 or not 1 <= options.concurrency <= 65535:
        parser.error("--count, --size or --concurrency is out of range")
    # So that nothing in the span is done for the first time.
    options.warmup = min(max(options.count // 10, 1), 2000)

    loop = IOLoop()
    try:
        result = run(loop, operations[options.operation](loop, options))
    except Failure as failure:
        sys.exit(f"{options.operation}: {failure}")
    json.dump({
        "operation": options.operation, "count": options.count, "size": options.size,
        "concurrency": options.concurrency, "executor": "main", "seconds": result.seconds,
        "rate": options.count / result.seconds, "cpu_us_per_message": result.cpu_seconds * 1e6 / options.count,
        "latency_us": result.latencies and percentiles(result.latencies),
    }, sys.stdout)
    print()


if __name__ == "__main__":
    main()
