#!/usr/bin/env ruby
# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

# What Bunny costs:
#   PROGRAM publish|consume|rpc --count N --size BYTES [--concurrency N] --broker URL
# Prints one JSON object, as `haredo bench ... --json` does.
require "bunny"
require "json"
require "optparse"

PREFETCH = 500
PER_ACK = 100
REPLY_TO = "amq.rabbitmq.reply-to"

Options = Struct.new(:operation, :count, :size, :concurrency, :broker) do
  # How many messages go before the span, so that nothing in it is done for the first time.
  def warmup = (count / 10).clamp(1, 2000)
end

# What was measured: of the span only, not of what prepares it.
Result = Struct.new(:seconds, :cpu_seconds, :latencies)

def monotonic = Process.clock_gettime(Process::CLOCK_MONOTONIC)

# User and system, of all threads.
def cpu_time = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)

def measure
  start = monotonic
  cpu_start = cpu_time
  yield
  Result.new(monotonic - start, cpu_time - cpu_start)
end

# The broker answers only after what was sent on the channel before.
def round_trip(channel, prefetch = PREFETCH) = channel.basic_qos(prefetch, false)

# A short-lived program has nothing to recover to. The rest is Bunny's default: no delay on the socket, one thread per
# channel for its deliveries.
def connect(options)
  connection = Bunny.new(options.broker, automatically_recover: false, log_file: $stderr)
  connection.start
  [connection, connection.create_channel]
end

# What a delivery does runs in a thread of Bunny's, which would only log what goes wrong there.
def in_callback(done)
  yield
rescue StandardError => e
  done << e
end

def wait_for(done)
  outcome = done.pop
  raise outcome if outcome.is_a?(Exception)
end

# MARK: publish

def publish_many(channel, count, body)
  count.times { channel.basic_publish(body, "", "haredo.bench.nowhere", persistent: false) }
  round_trip(channel)
end

def publish(options)
  connection, channel = connect(options)
  body = "x" * options.size
  publish_many(channel, options.warmup, body)
  result = measure { publish_many(channel, options.count, body) }
  connection.close
  result
end

# MARK: consume

# An exclusive queue with `count` messages in it.
def filled_queue(channel, count, size)
  queue = channel.queue("", exclusive: true)
  body = "x" * size
  count.times { channel.basic_publish(body, "", queue.name, persistent: false) }
  # The queue answers this question before it takes the messages that came earlier: ask until all are there.
  deadline = monotonic + 30
  until (there = queue.message_count) == count
    raise "#{there} messages in the queue, not #{count}" if monotonic > deadline

    sleep 0.002
  end
  queue
end

def consume_many(channel, count, size)
  queue = filled_queue(channel, count, size)
  done = Queue.new
  got = 0
  last = 0
  consumer = Bunny::Consumer.new(channel, queue.name, "bench", false)
  consumer.on_delivery do |delivery, _properties, body|
    in_callback(done) do
      raise "a body of #{body.bytesize} bytes, not #{size}" if body.bytesize != size

      tag = delivery.delivery_tag.to_i
      raise "delivery tag #{tag} after #{last}" if tag <= last

      last = tag
      got += 1
      channel.basic_ack(tag, true) if (got % PER_ACK).zero? || got == count
      done << nil if got == count
    end
  end
  result = measure do
    round_trip(channel)
    channel.basic_consume_with(consumer)
    wait_for(done)
    round_trip(channel)
  end
  consumer.cancel
  left = queue.delete.message_count
  raise "#{left} messages were left" unless left.zero?

  result
end

def consume(options)
  connection, channel = connect(options)
  consume_many(channel, options.warmup, options.size)
  result = consume_many(channel, options.count, options.size)
  connection.close
  result
end

# MARK: rpc

# The service, on a connection of its own. It sends back what it was sent.
def serve(channel, queue, done)
  consumer = Bunny::Consumer.new(channel, queue.name, "bench", false)
  consumer.on_delivery do |delivery, properties, body|
    in_callback(done) do
      channel.basic_publish(body, "", properties.reply_to,
                            persistent: false, correlation_id: properties.correlation_id)
      channel.basic_ack(delivery.delivery_tag.to_i, false)
    end
  end
  channel.basic_consume_with(consumer)
end

# Calls from within the thread that takes the replies: another one would only be woken in addition.
class Caller
  def initialize(channel, queue, size, done)
    @channel = channel
    @queue = queue.name
    @padding = "x" * [size - 8, 0].max
    @size = size
    @done = done
    consumer = Bunny::Consumer.new(channel, REPLY_TO, channel.generate_consumer_tag, true)
    consumer.on_delivery { |_, properties, body| in_callback(done) { received(properties.correlation_id, body) } }
    channel.basic_consume_with(consumer)
  end

  def call_many(count, in_flight)
    @count = count
    @sent = Array.new(count)
    @took = Array.new(count)
    @answered = 0
    # Before the first reply can come: from then on the other thread counts.
    first = [count, in_flight].min
    @made = first
    result = measure do
      first.times { |number| call(number) }
      wait_for(@done)
    end
    result.latencies = @took
    result
  end

  private

  # The number of the call is its correlation id, and begins its body.
  def body(number) = ([number].pack("Q<") + @padding).byteslice(0, @size)

  def call(number)
    @sent[number] = monotonic
    @channel.basic_publish(body(number), "", @queue,
                           persistent: false, correlation_id: number.to_s, reply_to: REPLY_TO)
  end

  def received(id, reply)
    number = Integer(id, 10)
    raise "a reply to call #{id}, which was not made" unless number.between?(0, @count - 1) && @sent[number]
    raise "a second reply to call #{id}" if @took[number]
    raise "call #{id} was answered with something else than was sent" unless reply == body(number)

    @took[number] = (monotonic - @sent[number]) * 1e6
    @answered += 1
    if @made < @count
      @made += 1
      call(@made - 1)
    elsif @answered == @count
      @done << nil
    end
  end
end

def rpc(options)
  service, service_channel = connect(options)
  queue = service_channel.queue("", exclusive: true)
  round_trip(service_channel, options.concurrency)
  connection, channel = connect(options)
  done = Queue.new
  serve(service_channel, queue, done)
  caller = Caller.new(channel, queue, options.size, done)
  caller.call_many(options.warmup, options.concurrency)
  result = caller.call_many(options.count, options.concurrency)
  connection.close
  service.close
  result
end

# MARK: the program

def parse(arguments)
  options = Options.new(arguments.shift, nil, 16, 1, nil)
  OptionParser.new do |parser|
    parser.banner = "usage: publish|consume|rpc --count N --size BYTES [--concurrency N] --broker URL"
    parser.on("--count N", Integer) { |value| options.count = value }
    parser.on("--size BYTES", Integer) { |value| options.size = value }
    parser.on("--concurrency N", Integer) { |value| options.concurrency = value }
    parser.on("--broker URL") { |value| options.broker = value }
  end.parse!(arguments)
  abort "no such operation: #{options.operation}" unless %w[publish consume rpc].include?(options.operation)
  unless options.count.to_i.positive? && options.size >= 0 && options.concurrency.between?(1, 65_535) && options.broker
    abort "--count, --size, --concurrency or --broker is missing or out of range"
  end
  options
end

def percentiles(latencies)
  sorted = latencies.sort
  { p50: 0.5, p90: 0.9, p99: 0.99, max: 1 }.transform_values do |share|
    sorted[[(sorted.length * share).to_i, sorted.length - 1].min].round(1)
  end
end

Thread.report_on_exception = false
options = parse(ARGV)
begin
  result = send(options.operation, options)
rescue StandardError => e
  abort "#{options.operation}: #{e.message}"
end
puts JSON.generate(
  operation: options.operation, count: options.count, size: options.size, concurrency: options.concurrency,
  executor: "threads", seconds: result.seconds, rate: options.count / result.seconds,
  cpu_us_per_message: result.cpu_seconds * 1e6 / options.count,
  latency_us: result.latencies && percentiles(result.latencies)
)
