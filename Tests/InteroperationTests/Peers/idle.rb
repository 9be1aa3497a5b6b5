# SPDX-License-Identifier: Apache-2.0
# Does nothing for longer than heartbeats allow, and then something.
require 'bunny'

$stdout.sync = true
connection = Bunny.new(
  ENV.fetch('HAREDO_BROKER'), log_file: $stderr, automatically_recover: false, heartbeat: 2
).start
raise "heartbeat #{connection.heartbeat}" unless connection.heartbeat == 2
channel = connection.create_channel
puts 'ready'
sleep 7 # the broker hangs up when it reads nothing for two heartbeats, or three; Bunny raises after two
puts "named #{channel.queue('', exclusive: true).name.start_with?('amq.gen-') ? 'True' : 'False'}"
connection.close
