# SPDX-License-Identifier: Apache-2.0
# Sends headers of every type that Bunny can write, and prints those of the reply.
#   headers.rb ADDRESS QUEUE    the service to call, and a queue to which the same message goes
require 'bunny'
require 'timeout'

# amq-protocol cannot put a name that is not ASCII behind a text that is not, unless told that the name is no text.
sent = {
  'text' => 'größe 🐇', 'schlüssel'.b => '', symbol: :symbol, 'true' => true, 'small' => 7, 'negative' => -7,
  'large' => 2**40, 'double' => 0.25,
  'time' => Time.at(1_700_000_000), 'list' => [1, 'two', [nil, false]], 'map' => { 'inner' => { 'deep' => 1 } },
  'none' => nil
}

def readable(value)
  case value
  when String
    text = value.dup.force_encoding('UTF-8')
    text.valid_encoding? ? text : value.bytes
  when Hash then value.to_h { |name, inner| [readable(name), readable(inner)] }
  when Array then value.map { |inner| readable(inner) }
  when Time then value.utc
  else value
  end
end

connection = Bunny.new(ENV.fetch('HAREDO_BROKER'), log_file: $stderr, automatically_recover: false).start
channel = connection.create_channel
replies = Thread::Queue.new
channel.queue('amq.rabbitmq.reply-to', no_declare: true).subscribe { |_, reply, _| replies << reply }
ARGV.each do |address|
  channel.default_exchange.publish('', routing_key: address, reply_to: 'amq.rabbitmq.reply-to', headers: sent)
end
reply = Timeout.timeout(10) { replies.pop }
readable(reply.headers).sort.each { |name, value| puts "#{name} #{value.class} #{value.inspect}" }
connection.close
