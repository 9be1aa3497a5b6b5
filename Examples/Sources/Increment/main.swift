// SPDX-License-Identifier: Apache-2.0
// HAREDO_BROKER=embedded swift run --package-path Examples Increment
// A service adds one to a number in the headers; a client sends ten, and receives each answer by its id.
import HareDo

struct Increment: Serving {
    func serve(_ message: Message) async throws -> Reply? {
        "\((message.headers["i"]?.int ?? 0) + 1)"
    }
}

let service = Peer(name: "increment")
try await service.connect()
try await service.listen(serving: Increment())

try await Peer.with(.environment) { client in
    for i in 1...10 {
        let id = try await client.send("increment", headers: ["i": .integer(Int64(i))])
        let reply = try await client.receive(id: id, timeout: .seconds(10))
        print(reply?.text == "\(i + 1)")
    }
}
await service.disconnect()
