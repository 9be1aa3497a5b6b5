# SPDX-License-Identifier: Apache-2.0
# Shares a queue with HareDo services: declares it as `.shared` is, answers "ruby", and keeps what says "hold".
require 'bunny'

connection = Bunny.new(ENV.fetch('HAREDO_BROKER'), log_file: $stderr, automatically_recover: false).start
channel = connection.create_channel
channel.prefetch(16)
queue = channel.queue(ARGV[0], durable: true, arguments: { 'x-expires' => 60_000 })
stop = Thread::Queue.new
Signal.trap('TERM') { Thread.new { stop << true } }
$stdout.sync = true
queue.subscribe(manual_ack: true) do |delivery, request, body|
  if body == 'hold'
    puts 'holding'
  else
    channel.default_exchange.publish('ruby', routing_key: request.reply_to, correlation_id: request.correlation_id)
    channel.ack(delivery.delivery_tag)
  end
end
puts 'ready'
stop.pop
connection.close
