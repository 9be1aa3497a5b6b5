// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include <string.h>

static void publish_many(amqp_connection_state_t connection, long count, amqp_bytes_t body) {
  const amqp_bytes_t exchange = amqp_empty_bytes;
  const amqp_bytes_t nowhere = amqp_cstring_bytes("haredo.bench.nowhere");
  for (long i = 0; i < count; i++) {
    check_status(amqp_basic_publish(connection, CHANNEL, exchange, nowhere, false, false, NULL, body), "publishing");
  }
  round_trip(connection, 500);
}

struct result publish(const struct options *options) {
  amqp_connection_state_t connection = connect_to(options->broker);
  amqp_bytes_t body = {.len = options->size, .bytes = allocate(options->size)};
  memset(body.bytes, 'x', body.len);
  publish_many(connection, warmup(options), body);

  double start = now(), cpu_start = cpu_time();
  publish_many(connection, options->count, body);
  struct result result = {.seconds = now() - start, .cpu_seconds = cpu_time() - cpu_start};

  disconnect(connection);
  free(body.bytes);
  return result;
}
