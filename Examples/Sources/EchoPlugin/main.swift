// SPDX-License-Identifier: Apache-2.0
// HAREDO_BROKER=embedded swift run --package-path Examples EchoPlugin
// A service that is nothing but its plugins: the header `uuid` says which one a message is for.
import HareDo

let service = Peer(name: "myservice")
try service.plugins.register(uuid: "echo") { message in Reply(message.data) }
try service.plugins.register(uuid: "size") { message in "\(message.data.count) bytes" }
try await service.connect()
try await service.listen(serving: service.plugins)

try await Peer.with(.environment) { client in
    client.timeout = .seconds(10)
    for uuid in ["echo", "size"] {
        let reply = try await client.call("myservice", headers: ["uuid": .string(uuid)], data: "jujifruit")
        print("\(uuid): \(reply?.text ?? "no reply in time")")
    }
    do {
        _ = try await client.call("myservice", headers: ["uuid": "nobody"])
    } catch let error as HareDoError where error.code == .noSuchPlugin {
        print(error.message)
    }
}
await service.disconnect()
