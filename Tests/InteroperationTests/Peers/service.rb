# SPDX-License-Identifier: Apache-2.0
# A service that HareDo peers can call: it adds one to the header "i".
require 'bunny'

connection = Bunny.new(ENV.fetch('HAREDO_BROKER')).start
channel = connection.create_channel
channel.prefetch(16)
queue = channel.queue(ARGV[0], exclusive: true)
stop = Thread::Queue.new
Signal.trap('TERM') { Thread.new { stop << true } }

queue.subscribe(manual_ack: true) do |delivery, request, _body|
  if request.reply_to # absent if the sender wants no reply
    channel.default_exchange.publish(
      (request.headers['i'] + 1).to_s,
      routing_key: request.reply_to, correlation_id: request.correlation_id
    )
  end
  channel.ack(delivery.delivery_tag)
end
puts 'ready'
$stdout.flush
stop.pop
connection.close
