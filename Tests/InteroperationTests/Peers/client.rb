# SPDX-License-Identifier: Apache-2.0
# Calls a HareDo service three times at once, and prints the replies.
require 'bunny'
require 'securerandom'
require 'timeout'

connection = Bunny.new(ENV.fetch('HAREDO_BROKER')).start
channel = connection.create_channel
replies = Thread::Queue.new
# Replies come straight to this channel. A queue works too: channel.queue('', exclusive: true)
channel.queue('amq.rabbitmq.reply-to', no_declare: true).subscribe { |_, reply, body| replies << [reply, body] }

waiting = {} # what was asked, by correlation id
(1..3).each do |number|
  id = SecureRandom.uuid
  waiting[id] = number
  channel.default_exchange.publish(
    '', routing_key: ARGV[0], reply_to: 'amq.rabbitmq.reply-to', correlation_id: id, headers: { 'i' => number }
  )
end

Timeout.timeout(10) do
  until waiting.empty?
    reply, body = replies.pop
    number = waiting.delete(reply.correlation_id)
    headers = reply.headers || {}
    if headers.key?('haredo-error-code')
      puts "#{number} failed: #{headers['haredo-error-code']} #{headers['haredo-error-text']}"
    elsif number
      puts "#{number} -> #{body}"
    end
  end
end
connection.close
