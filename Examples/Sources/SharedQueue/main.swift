// SPDX-License-Identifier: Apache-2.0
// HAREDO_BROKER=embedded swift run --package-path Examples SharedQueue
// Three instances of a service, here in one process, share a queue and with it the work.
import HareDo

var instances: [Peer] = []
for number in 1...3 {
    let instance = Peer(name: "rpc")
    try await instance.connect()
    // The only difference to one that is alone: `as: .shared`.
    try await instance.listen(as: .shared) { _ in "Reply of instance \(number)" }
    instances.append(instance)
}

try await Peer.with(.environment) { client in
    var answered: Set<String> = []
    for _ in 1...30 {
        if let reply = try await client.call("rpc") { answered.insert(reply.text ?? "") }
    }
    for instance in answered.sorted() { print(instance) }
}
for instance in instances { await instance.disconnect() }
