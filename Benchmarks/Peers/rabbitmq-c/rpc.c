// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define REPLY_TO "amq.rabbitmq.reply-to"

/* The service: a thread with a connection of its own. It sends back what it was sent. */
struct service {
  amqp_connection_state_t connection;
  long count;
  size_t size;
};

static void *serve(void *argument) {
  struct service *service = argument;
  struct inbox inbox = {.bytes = allocate(service->size), .capacity = service->size};
  for (long i = 0; i < service->count; i++) {
    struct delivery delivery = next_delivery(service->connection, &inbox);
    const amqp_basic_properties_t *request = delivery.properties;
    if (!(request->_flags & AMQP_BASIC_REPLY_TO_FLAG)) die("a request without an address for its reply");
    amqp_basic_properties_t reply = {._flags = AMQP_BASIC_CORRELATION_ID_FLAG,
                                     .correlation_id = request->correlation_id};
    check_status(amqp_basic_publish(service->connection, CHANNEL, amqp_empty_bytes, request->reply_to, false, false,
                                    &reply, delivery.body),
                 "replying");
    check_status(amqp_basic_ack(service->connection, CHANNEL, delivery.tag, false), "acknowledging");
  }
  round_trip(service->connection, 0);
  free(inbox.bytes);
  return NULL;
}

struct caller {
  amqp_connection_state_t connection;
  amqp_bytes_t queue;
  amqp_bytes_t body;
  struct inbox inbox;
  double *sent;      /* when, by number; 0: not yet */
  double *latencies; /* by number, in microseconds; below 0: not answered */
};

/* The number of the call is its correlation id, and begins its body. */
static size_t mark(amqp_bytes_t body, long number) {
  uint64_t bits = (uint64_t)number;
  size_t length = body.len < sizeof bits ? body.len : sizeof bits;
  memcpy(body.bytes, &bits, length);
  return length;
}

static void call(struct caller *caller, long number) {
  char id[24];
  int length = snprintf(id, sizeof id, "%ld", number);
  amqp_basic_properties_t properties = {
      ._flags = AMQP_BASIC_CORRELATION_ID_FLAG | AMQP_BASIC_REPLY_TO_FLAG,
      .correlation_id = {.len = (size_t)length, .bytes = id},
      .reply_to = amqp_cstring_bytes(REPLY_TO),
  };
  mark(caller->body, number);
  caller->sent[number] = now();
  check_status(amqp_basic_publish(caller->connection, CHANNEL, amqp_empty_bytes, caller->queue, false, false,
                                  &properties, caller->body),
               "calling");
}

static void receive(struct caller *caller, long count) {
  struct delivery reply = next_delivery(caller->connection, &caller->inbox);
  amqp_bytes_t id = reply.properties->correlation_id;
  if (!(reply.properties->_flags & AMQP_BASIC_CORRELATION_ID_FLAG) || id.len == 0 || id.len > 18) {
    die("a reply without one of our correlation ids");
  }
  long number = 0;
  for (size_t i = 0; i < id.len; i++) {
    char digit = ((char *)id.bytes)[i];
    if (digit < '0' || digit > '9') die("a reply without one of our correlation ids");
    number = number * 10 + (digit - '0');
  }
  if (number >= count || caller->sent[number] == 0) die("a reply to call %ld, which was not made", number);
  if (caller->latencies[number] >= 0) die("a second reply to call %ld", number);
  mark(caller->body, number);
  if (reply.body.len != caller->body.len || memcmp(reply.body.bytes, caller->body.bytes, reply.body.len) != 0) {
    die("call %ld was answered with something else than was sent", number);
  }
  caller->latencies[number] = (now() - caller->sent[number]) * 1e6;
}

static struct result call_many(struct caller *caller, long count, long in_flight) {
  caller->sent = allocate((size_t)count * sizeof(double));
  caller->latencies = allocate((size_t)count * sizeof(double));
  for (long i = 0; i < count; i++) {
    caller->sent[i] = 0;
    caller->latencies[i] = -1;
  }
  double start = now(), cpu_start = cpu_time();
  long made = 0;
  while (made < count && made < in_flight) call(caller, made++);
  for (long answered = 0; answered < count; answered++) {
    receive(caller, count);
    if (made < count) call(caller, made++);
  }
  struct result result = {
      .seconds = now() - start, .cpu_seconds = cpu_time() - cpu_start, .latencies = caller->latencies};
  free(caller->sent);
  return result;
}

struct result rpc(const struct options *options) {
  long before = warmup(options);
  struct service service = {
      .connection = connect_to(options->broker), .count = before + options->count, .size = options->size};
  round_trip(service.connection, (uint16_t)options->concurrency);
  amqp_queue_declare_ok_t *declared =
      amqp_queue_declare(service.connection, CHANNEL, amqp_empty_bytes, false, false, true, false, amqp_empty_table);
  check(service.connection, "declaring a queue");
  amqp_bytes_t queue = amqp_bytes_malloc_dup(declared->queue);
  amqp_basic_consume(service.connection, CHANNEL, queue, amqp_empty_bytes, false, false, false, amqp_empty_table);
  check(service.connection, "consuming");
  pthread_t thread;
  if (pthread_create(&thread, NULL, serve, &service) != 0) die("no thread for the service");

  struct caller caller = {
      .connection = connect_to(options->broker),
      .queue = queue,
      .body = {.len = options->size, .bytes = allocate(options->size)},
      .inbox = {.bytes = allocate(options->size), .capacity = options->size},
  };
  memset(caller.body.bytes, 'x', caller.body.len);
  amqp_basic_consume(caller.connection, CHANNEL, amqp_cstring_bytes(REPLY_TO), amqp_empty_bytes, false, true, false,
                     amqp_empty_table);
  check(caller.connection, "consuming replies");
  free(call_many(&caller, before, options->concurrency).latencies);
  struct result result = call_many(&caller, options->count, options->concurrency);

  if (pthread_join(thread, NULL) != 0) die("the service's thread cannot be joined");
  disconnect(caller.connection);
  disconnect(service.connection);
  free(caller.body.bytes);
  free(caller.inbox.bytes);
  amqp_bytes_free(queue);
  return result;
}
