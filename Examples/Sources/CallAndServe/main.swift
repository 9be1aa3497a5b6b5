// SPDX-License-Identifier: Apache-2.0
// swift run --package-path Examples CallAndServe
import HareDo

// A broker in this process. For RabbitMQ: "amqp://guest:guest@localhost:5672", and change nothing else.
let broker = Peer.Configuration.embedded

let service = Peer(name: "greetings", broker)
try await service.connect()
try await service.listen { request in Reply("Hello, \(request.text ?? "whoever you are")!") }

try await Peer.with(broker) { peer in
    let reply = try await peer.call("greetings", data: "jujifruit", timeout: .seconds(10))
    print(reply?.text ?? "no answer in time")
}
await service.disconnect()
