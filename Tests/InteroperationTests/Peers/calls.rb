# SPDX-License-Identifier: Apache-2.0
# Calls an echo service with bodies of the given sizes, all at once, and says how many came back whole.
#   calls.rb ADDRESS REPLY-QUEUE SIZE...    REPLY-QUEUE: amq.rabbitmq.reply-to, or the name of one to declare
require 'bunny'
require 'timeout'

address, reply_to, *sizes = ARGV
connection = Bunny.new(ENV.fetch('HAREDO_BROKER'), log_file: $stderr, automatically_recover: false).start
channel = connection.create_channel
direct = reply_to == 'amq.rabbitmq.reply-to'
# A name said to be UTF-8 makes Bunny stumble over the answer to the declaration if it is not ASCII.
queue = direct ? channel.queue(reply_to, no_declare: true) : channel.queue(reply_to.b, exclusive: true)
replies = Thread::Queue.new
queue.subscribe { |_, reply, body| replies << [reply, body] }

bytes = (0..255).to_a.pack('C*')
waiting = {}
sizes.map(&:to_i).each_with_index do |size, index|
  body = (bytes.byteslice(index % 256, 256) + bytes) * (size / 257 + 1)
  body = body.byteslice(0, size)
  id = "ü#{index}"
  waiting[id] = body
  channel.default_exchange.publish(
    body, routing_key: address, reply_to: reply_to, correlation_id: id, message_id: id, headers: { 'größe' => size }
  )
end

whole = 0
Timeout.timeout(15) do
  until waiting.empty?
    reply, body = replies.pop
    # Bunny leaves texts as bytes.
    expected = waiting.delete(reply.correlation_id.dup.force_encoding('UTF-8'))
    raise "#{body.bytesize} bytes instead of #{expected.bytesize}, or others" unless body.b == expected.b
    headers = reply.headers.transform_keys { |key| key.dup.force_encoding('UTF-8') }
    raise headers.inspect unless headers['größe'] == expected.bytesize
    raise reply.user_id.inspect unless reply.user_id == 'guest'
    whole += 1
  end
end
connection.close
puts "#{whole} whole"
