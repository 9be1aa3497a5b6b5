# SPDX-License-Identifier: Apache-2.0
# Logs in at URLs where that should fail, and prints how it does.
require 'bunny'

ARGV.each do |url|
  Bunny.new(url, log_file: $stderr, log_level: Logger::FATAL, automatically_recover: false).start.close
  puts 'connected'
rescue Bunny::Exception => e
  puts "#{e.class} #{e.message}"
end
