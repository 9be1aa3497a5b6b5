# SPDX-License-Identifier: Apache-2.0
# Does with a broker what Bunny can do with one, and says what came of it; broker.py says the same.
#   broker.rb NAME    a prefix for queues and exchanges
require 'bunny'
require 'timeout'

$stdout.sync = true
name = ARGV[0].b # Bunny stumbles over the answer to a declaration if the name is not ASCII and said to be UTF-8
connection = Bunny.new(
  ENV.fetch('HAREDO_BROKER'),
  log_file: $stderr, automatically_recover: false, continuation_timeout: 10_000
).start
channel = connection.create_channel

def truth(value) = value ? 'True' : 'False' # as Python has it
def list(values) = "[#{values.map { |value| "'#{value}'" }.join(', ')}]"

def status(channel, name)
  ok = channel.queue_declare(name, passive: true)
  [ok.message_count, ok.consumer_count]
end

# What the broker closes a channel for.
refused = lambda do |what, &body|
  own = connection.create_channel
  begin
    body.call(own)
    puts "#{what} worked"
  rescue Bunny::ChannelLevelException => e
    puts "#{what} #{e.channel_close.reply_code}"
  end
  raise 'open' if own.open? || !connection.open?
end

def wait
  Timeout.timeout(10) { Thread.pass until yield }
end

# Queues and what is in them.
declared = channel.queue_declare(name, durable: true)
puts "declared #{truth(declared.queue == name)} #{declared.message_count} #{declared.consumer_count}"
refused.call('missing') { |other| other.queue_declare("#{name}.missing", passive: true) }
refused.call('inequivalent') { |other| other.queue_declare(name, durable: false) }
refused.call('no exchange') { |other| other.queue_bind(name, "#{name}.missing", routing_key: 'key') }

# Publisher confirms and returns.
channel.confirm_select
exchange = channel.default_exchange
returned = Thread::Queue.new
exchange.on_return { |info, _, body| returned << [info, body] }
(1..5).each { |number| exchange.publish(number.to_s, routing_key: name, persistent: true, mandatory: true) }
raise 'not confirmed' unless channel.wait_for_confirms
puts "confirmed #{status(channel, name)[0]}"
exchange.publish('back', routing_key: "#{name}.nowhere", mandatory: true)
raise 'not confirmed' unless channel.wait_for_confirms
info, body = Timeout.timeout(10) { returned.pop }
puts "returned #{info.reply_code} #{info.reply_text} #{body}"

# Get, acknowledge, put back.
info, properties, body = channel.basic_get(name, manual_ack: true)
puts "got #{body} #{truth(info.redelivered)} #{info.message_count} #{properties[:delivery_mode]}"
channel.ack(info.delivery_tag)
[-> (tag) { channel.nack(tag, false, true) }, ->(tag) { channel.reject(tag, true) }].each do |requeue|
  info, _, body = channel.basic_get(name, manual_ack: true)
  puts "got #{body} #{truth(info.redelivered)}"
  requeue.call(info.delivery_tag)
end

# Consume, two at a time.
deliveries = Thread::Queue.new
take = -> { Timeout.timeout(10) { deliveries.pop } }
channel.basic_qos(2)
pair = Bunny::Consumer.new(channel, name, channel.generate_consumer_tag, false)
pair.on_delivery { |info, _, body| deliveries << [info, body] }
channel.basic_consume_with(pair)
first, second = take.call, take.call
puts "delivered #{list([first[1], second[1]])} #{status(channel, name)[0]}"
channel.nack(first[0].delivery_tag, false, true)
again = take.call
puts "again #{again[1]} #{truth(again[0].redelivered)}"
channel.ack(again[0].delivery_tag, true)
puts "delivered #{list([take.call[1], take.call[1]])}"
channel.basic_cancel(pair.consumer_tag)
puts "cancelled #{status(channel, name).join(' ')}"
other = connection.create_channel
bad = connection.create_channel
errors = Thread::Queue.new
bad.on_error { |_, close| errors << close.reply_code } # nobody waits for an answer to an acknowledgement
bad.basic_ack(99, false)
puts "unknown tag #{Timeout.timeout(10) { errors.pop }}"
channel.close # puts back what was not acknowledged
wait { status(other, name)[0] == 2 }
info, _, body = other.basic_get(name, manual_ack: false)
puts "back #{body} #{truth(info.redelivered)}"
puts "purged #{other.queue_purge(name).message_count}"
puts "empty #{other.basic_get(name, manual_ack: true)[0].nil? ? 'None' : 'not'}"

# A queue that goes takes its consumers along.
gone = Thread::Queue.new
consumer = Bunny::Consumer.new(other, name)
consumer.on_cancellation { |cancel| gone << cancel.consumer_tag }
other.basic_consume_with(consumer)
third = connection.create_channel
puts "deleted #{third.queue_delete(name).message_count}"
puts "cancelled by the broker #{truth(Timeout.timeout(10) { gone.pop } == consumer.consumer_tag)}"

# Exchanges and bindings.
queue = third.queue_declare('', exclusive: true).queue
puts "named #{truth(queue.start_with?('amq.gen-'))}"
second = Bunny.new(ENV.fetch('HAREDO_BROKER'), log_file: $stderr, automatically_recover: false).start
begin
  second.create_channel.queue_declare(queue, passive: true)
rescue Bunny::ResourceLocked => e
  puts "locked #{e.channel_close.reply_code}"
end
second.close
refused.call('in use') do |bad|
  bad.basic_consume_with(Bunny::Consumer.new(bad, queue))
  bad.queue_delete(queue, if_unused: true)
end
[%w[direct a a], ['fanout', '', 'b'], %w[topic a.*.# a.b.c]].each do |kind, binding, key|
  exchange = "#{name}.#{kind}"
  third.exchange_declare(exchange, kind, auto_delete: true)
  third.queue_bind(queue, exchange, routing_key: binding)
  third.basic_publish(kind, exchange, key)
  wait { status(third, queue)[0] == 1 }
  info, _, body = third.basic_get(queue, manual_ack: false)
  puts "routed #{body} #{info.routing_key} #{truth(info.exchange == exchange)}"
  third.queue_unbind(queue, exchange, routing_key: binding)
end
headers = "#{name}.headers"
third.exchange_declare(headers, 'headers')
third.queue_bind(queue, headers, arguments: { 'x-match' => 'all', 'number' => 1, 'text' => 'größe' })
third.confirm_select
third.basic_publish('x', headers, '', headers: { 'number' => 1, 'text' => 'größe' }, mandatory: true)
raise 'not confirmed' unless third.wait_for_confirms
puts "routed #{status(third, queue)[0]}"
third.exchange_delete(headers)

# Get, and give back by asking for all again.
third.basic_get(queue, manual_ack: true)
third.basic_recover(true)
info, _, body = third.basic_get(queue, manual_ack: false)
puts "recovered #{body} #{truth(info.redelivered)}"

# Many, in order.
bodies = (0...300).map { |number| number.to_s * (number % 50) }
bodies.each { |text| third.basic_publish(text, '', queue) }
raise 'not confirmed' unless third.wait_for_confirms
consumed = Thread::Queue.new
reader = Bunny::Consumer.new(third, queue)
reader.on_delivery { |_, _, text| consumed << text }
third.basic_consume_with(reader)
puts "many #{truth(bodies.map { Timeout.timeout(10) { consumed.pop } } == bodies)}"
third.basic_cancel(reader.consumer_tag)
refused.call('taken') { |bad| 2.times { |i| bad.basic_consume(queue, '', true, i.zero?) {} } }

# Transactions.
fourth = connection.create_channel
fourth.tx_select
%w[kept dropped].each do |text|
  fourth.basic_publish(text, '', queue)
  puts "before #{third.queue_declare(queue, passive: true).message_count}"
  text == 'kept' ? fourth.tx_commit : fourth.tx_rollback
  puts "after #{third.queue_declare(queue, passive: true).message_count}"
end
connection.close
puts "closed #{truth(connection.closed?)}"
