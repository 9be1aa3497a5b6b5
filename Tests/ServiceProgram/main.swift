// SPDX-License-Identifier: Apache-2.0
// For tests that need services in processes of their own: ServiceProgram QUEUE SERVICES MILLISECONDS
// Services on QUEUE-1, QUEUE-2 and so on, which take so long for each request and answer with its body. It writes `ready`,
// `+ID` when it begins with a request, `-ID` when it has replied, and `ended` when a SIGTERM has ended it in order.
import Foundation
import HareDo
import Logging
import ServiceLifecycle

/// One write for each line: readers see them whole.
@Sendable func say(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = write(STDOUT_FILENO, bytes, bytes.count)
}

let arguments = CommandLine.arguments.dropFirst()
guard arguments.count == 3, let queue = arguments.first, let count = arguments.dropFirst().first.flatMap({ Int($0) }),
    let milliseconds = arguments.last.flatMap({ Int($0) })
else {
    FileHandle.standardError.write(Data("QUEUE SERVICES MILLISECONDS\n".utf8))
    exit(64)
}
let peer = Peer()
peer.timeout = .seconds(10)
try await peer.connect()
var services: [PeerService] = []
for number in 1...count {
    services.append(
        try await peer.listen(on: "\(queue)-\(number)", as: .shared) { message in
            let id = message.id?.rawValue ?? ""
            say("+\(id)")
            try await Task.sleep(for: .milliseconds(milliseconds))
            try await message.reply(message.data)
            say("-\(id)")
            return nil
        })
}
let group = ServiceGroup(
    services: services, gracefulShutdownSignals: [.sigterm],
    logger: Logger(label: "services") { _ in SwiftLogNoOpLogHandler() })
say("ready")
try await group.run()
await peer.disconnect()
say("ended")
