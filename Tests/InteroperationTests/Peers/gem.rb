# SPDX-License-Identifier: Apache-2.0
# A peer of the HareDo gem for Ruby, as far as others see it: messages are known by their message id, replies carry it
# as message id and correlation id.
#   gem.rb serve QUEUE      adds one to the header i
#   gem.rb call QUEUE       calls such a service ten times
require 'bunny'
require 'securerandom'
require 'timeout'

Message = Struct.new(:properties, :data) do
  def headers = properties.headers
end

class Peer
  attr_accessor :timeout

  def initialize
    @timeout = 10
    @received = Thread::Queue.new
    @kept = []
  end

  def connect(url)
    @connection = Bunny.new(url, log_file: $stderr, automatically_recover: false).start
    @channel = @connection.create_channel
    @exchange = @channel.default_exchange
    @inbox = @channel.queue('', exclusive: true, auto_delete: true)
    @inbox.subscribe { |_, properties, data| @received << Message.new(properties, data) }
  end

  def listen(queue)
    @channel.queue(queue, exclusive: true, auto_delete: true).subscribe(manual_ack: true) do |delivery, properties, data|
      serve(Message.new(properties, data))
      @channel.acknowledge(delivery.delivery_tag)
    end
  end

  def send(to, headers: {}, data: '')
    id = SecureRandom.uuid
    @exchange.publish(data, routing_key: to, headers: headers, message_id: id, reply_to: @inbox.name)
    id
  end

  # Replies only: another's message might have the same id.
  def receive(id)
    Timeout.timeout(@timeout) do
      loop do
        found = @kept.find { |message| [message.properties.message_id, message.properties.correlation_id] == [id, id] }
        return @kept.delete(found) if found
        @kept << @received.pop
      end
    end
  end

  def reply(message, data:, headers: {})
    id = message.properties.message_id
    @exchange.publish(data, routing_key: message.properties.reply_to, headers: headers, message_id: id, correlation_id: id)
  end

  def disconnect = @connection.close
end

class Service < Peer
  def serve(message) = reply(message, data: (message.headers['i'].to_i + 1).to_s)
end

stop = Thread::Queue.new
Signal.trap('TERM') { Thread.new { stop << true } }
case ARGV[0]
when 'serve'
  service = Service.new
  service.connect(ENV.fetch('HAREDO_BROKER'))
  service.listen(ARGV[1])
  puts 'ready'
  $stdout.flush
  stop.pop
  service.disconnect
when 'call'
  client = Peer.new
  client.connect(ENV.fetch('HAREDO_BROKER'))
  # All are under way before the first reply is asked for, and they are asked for backwards.
  ids = (1..10).to_h { |i| [i, client.send(ARGV[1], headers: { i: i })] }
  10.downto(1) { |i| puts "#{i} -> #{client.receive(ids[i]).data}" }
  client.disconnect
end
