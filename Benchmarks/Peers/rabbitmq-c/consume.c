// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include <string.h>
#include <time.h>

enum { PREFETCH = 500, PER_ACK = 100 };

/* An exclusive queue with `count` messages in it. */
static amqp_bytes_t filled_queue(amqp_connection_state_t connection, long count, size_t size) {
  amqp_queue_declare_ok_t *declared =
      amqp_queue_declare(connection, CHANNEL, amqp_empty_bytes, false, false, true, false, amqp_empty_table);
  check(connection, "declaring a queue");
  amqp_bytes_t queue = amqp_bytes_malloc_dup(declared->queue);
  amqp_bytes_t body = {.len = size, .bytes = allocate(size)};
  memset(body.bytes, 'x', size);
  for (long i = 0; i < count; i++) {
    check_status(amqp_basic_publish(connection, CHANNEL, amqp_empty_bytes, queue, false, false, NULL, body), "filling");
  }
  free(body.bytes);
  /* The queue answers this question before it takes the messages that came earlier: ask until all are there. */
  double deadline = now() + 30;
  for (;;) {
    declared = amqp_queue_declare(connection, CHANNEL, queue, true, false, true, false, amqp_empty_table);
    check(connection, "looking at the queue");
    if (declared->message_count == count) break;
    if (now() > deadline) die("%u messages in the queue, not %ld", declared->message_count, count);
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
  }
  amqp_maybe_release_buffers_on_channel(connection, CHANNEL);
  return queue;
}

static struct result consume_many(amqp_connection_state_t connection, long count, size_t size) {
  amqp_bytes_t queue = filled_queue(connection, count, size);
  struct inbox inbox = {.bytes = allocate(size), .capacity = size};

  double start = now(), cpu_start = cpu_time();
  round_trip(connection, PREFETCH);
  amqp_basic_consume(connection, CHANNEL, queue, amqp_cstring_bytes("bench"), false, false, false, amqp_empty_table);
  check(connection, "consuming");
  uint64_t last = 0;
  for (long i = 1; i <= count; i++) {
    struct delivery delivery = next_delivery(connection, &inbox);
    if (delivery.body.len != size) die("a body of %zu bytes, not %zu", delivery.body.len, size);
    if (delivery.tag <= last) die("delivery tag %lu after %lu", (unsigned long)delivery.tag, (unsigned long)last);
    last = delivery.tag;
    if (i % PER_ACK == 0 || i == count) {
      check_status(amqp_basic_ack(connection, CHANNEL, delivery.tag, true), "acknowledging");
    }
  }
  round_trip(connection, PREFETCH);
  struct result result = {.seconds = now() - start, .cpu_seconds = cpu_time() - cpu_start};

  amqp_basic_cancel(connection, CHANNEL, amqp_cstring_bytes("bench"));
  check(connection, "cancelling");
  amqp_queue_delete_ok_t *deleted = amqp_queue_delete(connection, CHANNEL, queue, false, false);
  check(connection, "deleting the queue");
  if (deleted->message_count != 0) die("%u messages were left", deleted->message_count);
  amqp_bytes_free(queue);
  free(inbox.bytes);
  return result;
}

struct result consume(const struct options *options) {
  amqp_connection_state_t connection = connect_to(options->broker);
  consume_many(connection, warmup(options), options->size);
  struct result result = consume_many(connection, options->count, options->size);
  disconnect(connection);
  return result;
}
