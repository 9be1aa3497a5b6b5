// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include <amqp_tcp_socket.h>
#include <string.h>

void check_status(int status, const char *what) {
  if (status != AMQP_STATUS_OK) die("%s: %s", what, amqp_error_string2(status));
}

static void die_of_close(const char *what, amqp_method_t method) {
  if (method.id == AMQP_CHANNEL_CLOSE_METHOD) {
    amqp_channel_close_t *close = method.decoded;
    die("%s: channel closed: %d %.*s", what, close->reply_code, (int)close->reply_text.len,
        (char *)close->reply_text.bytes);
  }
  if (method.id == AMQP_CONNECTION_CLOSE_METHOD) {
    amqp_connection_close_t *close = method.decoded;
    die("%s: connection closed: %d %.*s", what, close->reply_code, (int)close->reply_text.len,
        (char *)close->reply_text.bytes);
  }
  die("%s: unexpected method %s", what, amqp_method_name(method.id));
}

static void check_reply(amqp_rpc_reply_t reply, const char *what) {
  switch (reply.reply_type) {
  case AMQP_RESPONSE_NORMAL: return;
  case AMQP_RESPONSE_LIBRARY_EXCEPTION: check_status(reply.library_error, what); break;
  case AMQP_RESPONSE_SERVER_EXCEPTION: die_of_close(what, reply.reply); break;
  default: break;
  }
  die("%s: no reply", what);
}

void check(amqp_connection_state_t connection, const char *what) {
  check_reply(amqp_get_rpc_reply(connection), what);
}

amqp_connection_state_t connect_to(const char *url) {
  struct amqp_connection_info info;
  char *copy = strdup(url); /* amqp_parse_url cuts it into pieces */
  if (copy == NULL) die("out of memory");
  check_status(amqp_parse_url(copy, &info), "the broker's URL");
  amqp_connection_state_t connection = amqp_new_connection();
  amqp_socket_t *socket = connection == NULL ? NULL : amqp_tcp_socket_new(connection);
  if (socket == NULL) die("out of memory");
  check_status(amqp_socket_open(socket, info.host, info.port), "connecting");
  check_reply(amqp_login(connection, info.vhost, 0, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN, info.user,
                         info.password),
              "logging in");
  free(copy);
  amqp_channel_open(connection, CHANNEL);
  check(connection, "opening a channel");
  return connection;
}

void disconnect(amqp_connection_state_t connection) {
  check_reply(amqp_connection_close(connection, AMQP_REPLY_SUCCESS), "closing the connection");
  check_status(amqp_destroy_connection(connection), "closing the socket");
}

void round_trip(amqp_connection_state_t connection, uint16_t prefetch_count) {
  amqp_basic_qos(connection, CHANNEL, 0, prefetch_count, false);
  check(connection, "a round trip");
}

/* Frame by frame: amqp_consume_message copies every part of every message into memory of its own. */
struct delivery next_delivery(amqp_connection_state_t connection, struct inbox *inbox) {
  amqp_frame_t frame;
  amqp_maybe_release_buffers_on_channel(connection, CHANNEL); /* of the delivery before */
  check_status(amqp_simple_wait_frame(connection, &frame), "waiting for a delivery");
  if (frame.frame_type != AMQP_FRAME_METHOD) die("a frame of type %d, not a method", frame.frame_type);
  if (frame.payload.method.id != AMQP_BASIC_DELIVER_METHOD) {
    die_of_close("waiting for a delivery", frame.payload.method);
  }
  const amqp_basic_deliver_t *deliver = frame.payload.method.decoded;
  struct delivery delivery = {.tag = deliver->delivery_tag};

  check_status(amqp_simple_wait_frame(connection, &frame), "waiting for a content header");
  if (frame.frame_type != AMQP_FRAME_HEADER) die("a frame of type %d, not a content header", frame.frame_type);
  delivery.properties = frame.payload.properties.decoded;
  if (frame.payload.properties.body_size > inbox->capacity) die("a body longer than what was sent");

  delivery.body = (amqp_bytes_t){.len = frame.payload.properties.body_size, .bytes = inbox->bytes};
  for (size_t got = 0; got < delivery.body.len;) {
    check_status(amqp_simple_wait_frame(connection, &frame), "waiting for a body");
    amqp_bytes_t fragment = frame.payload.body_fragment;
    if (frame.frame_type != AMQP_FRAME_BODY) die("a frame of type %d, not a body", frame.frame_type);
    if (fragment.len > delivery.body.len - got) die("a body longer than its header says");
    if (fragment.len == delivery.body.len) { /* the whole of it: no need to copy */
      delivery.body.bytes = fragment.bytes;
    } else {
      memcpy(inbox->bytes + got, fragment.bytes, fragment.len);
    }
    got += fragment.len;
  }
  return delivery;
}
