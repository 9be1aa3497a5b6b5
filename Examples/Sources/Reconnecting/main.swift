// SPDX-License-Identifier: Apache-2.0
// swift run --package-path Examples Reconnecting amqp://guest:guest@localhost:5672 [SECONDS]
// Restart the broker while it runs: it tells what happened, and loses nothing that was confirmed.
import AMQPClient

let url = CommandLine.arguments.dropFirst().first ?? "amqp://guest:guest@localhost:5672"
let seconds = CommandLine.arguments.dropFirst(2).first.flatMap { Int($0) } ?? 30
var configuration = try AMQPConfiguration(uri: url)
configuration.recovery.maximumDelay = .seconds(5)
let connection = try await AMQPConnection.connect(configuration)

let watching = Task {
    for await event in connection.events { print("event: \(event)") }
}

let channel = try await connection.openChannel()
try await channel.confirmSelect()
// Declared again after a loss, as is everything else that this connection declared.
try await channel.declareQueue("reconnecting", durable: true)
let consumer = try await channel.consume("reconnecting")
let consuming = Task {
    var count = 0
    for try await delivery in consumer.deliveries {
        do {
            try delivery.ack()
            count += 1
        } catch let error as AMQPError where error.code == .deliveryExpired {
            // The connection was lost since: the broker delivers it again.
        }
    }
    return count
}

var sent = 0
let end = ContinuousClock.now + .seconds(seconds)
while ContinuousClock.now < end {
    var message = AMQPMessage("message \(sent)")
    message.properties.deliveryMode = AMQPBasicProperties.persistent
    try await channel.publishConfirmed(message, routingKey: "reconnecting", onUnknownOutcome: .publishAgain)
    sent += 1
    try await Task.sleep(for: .milliseconds(10))
}
try await consumer.cancel()
try await channel.deleteQueue("reconnecting")
await connection.close()
await watching.value
print("confirmed: \(sent), consumed: \(try await consuming.value)")
