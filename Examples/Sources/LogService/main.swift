// SPDX-License-Identifier: Apache-2.0
// HAREDO_BROKER=embedded swift run --package-path Examples LogService
// Event dispatch: the client sends and goes; nobody replies.
import HareDo

let service = Peer(name: "logger")
try await service.connect()
let listening = try await service.listen()

try await Peer.with(.environment) { client in
    try await client.send("logger", data: "Backup script failed", wantsReply: false)
}

for await message in listening.messages {
    print("logged:", message.text ?? message.data.description)
    break
}
await service.disconnect()
