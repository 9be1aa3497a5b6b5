// SPDX-License-Identifier: Apache-2.0
// swift run --package-path Examples PublishAndConsume amqp://guest:guest@localhost:5672
import AMQPClient

let url = CommandLine.arguments.dropFirst().first ?? "amqp://guest:guest@localhost:5672"
let connection = try await AMQPConnection.connect(AMQPConfiguration(uri: url))

let channel = try await connection.openChannel()
try await channel.confirmSelect()
let queue = try await channel.declareQueue("", exclusive: true).name

// Returns when the broker has it.
for number in 1...3 {
    try await channel.publishConfirmed(AMQPMessage("message \(number)"), routingKey: queue)
}

try await channel.qos(prefetchCount: 10)
let consumer = try await channel.consume(queue)
for try await delivery in consumer.deliveries {
    print(String(buffer: delivery.body))
    try delivery.ack()
    if delivery.deliveryTag == 3 { break }
}
await connection.close()
