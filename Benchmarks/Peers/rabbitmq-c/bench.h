// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_H
#define BENCH_H

#include <amqp.h>
#include <amqp_framing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define CHANNEL 1

struct options {
  const char *operation;
  long count;
  size_t size;
  long concurrency;
  const char *broker;
};

/* What was measured: of the span only, not of what prepares it. */
struct result {
  double seconds;
  double cpu_seconds;  /* user and system, of all threads */
  double *latencies;   /* one per call, in microseconds; NULL where there are none */
};

struct result publish(const struct options *options);
struct result consume(const struct options *options);
struct result rpc(const struct options *options);

/* How many messages go before the span, so that nothing in it is done for the first time. */
long warmup(const struct options *options);

_Noreturn void die(const char *format, ...);
void *allocate(size_t size);
double now(void);
double cpu_time(void);

/* A connection with one channel, CHANNEL. */
amqp_connection_state_t connect_to(const char *url);
void disconnect(amqp_connection_state_t connection);
/* For calls that wait for the broker's answer. */
void check(amqp_connection_state_t connection, const char *what);
/* For those that only write. */
void check_status(int status, const char *what);
/* Waits for the broker, which handles what was sent on the channel before first. */
void round_trip(amqp_connection_state_t connection, uint16_t prefetch_count);

struct delivery {
  uint64_t tag;
  const amqp_basic_properties_t *properties;
  amqp_bytes_t body;
};

/* A buffer for bodies of at most `capacity` bytes; a longer one is an error. */
struct inbox {
  char *bytes;
  size_t capacity;
};

/* The next delivery. What it points to is valid until the next call. */
struct delivery next_delivery(amqp_connection_state_t connection, struct inbox *inbox);

#endif
