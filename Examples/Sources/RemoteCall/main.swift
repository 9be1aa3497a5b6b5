// SPDX-License-Identifier: Apache-2.0
// HAREDO_BROKER=embedded swift run --package-path Examples RemoteCall
// A call is a function of another process. One that takes too long is nil.
import HareDo

let service = Peer(name: "rpc")
try await service.connect()
try await service.listen { message in
    if message.text == "slow" { try await Task.sleep(for: .seconds(10)) }
    return "Reply"
}

let client = Peer()
try await client.connect()
print(try await client.call("rpc", data: "jujifruit", timeout: .seconds(10))?.text ?? "no reply in time")
client.timeout = .milliseconds(200)
print(try await client.call("rpc", data: "slow")?.text ?? "no reply in time")
await client.disconnect()
await service.disconnect(within: .zero)
