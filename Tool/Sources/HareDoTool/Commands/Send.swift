// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

struct Send: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sends a message and does not wait for an answer.",
        discussion: """
            Prints the message's id once the broker has confirmed that it has the message. Exits with 1 at once if nobody \
            listens, and with 2 if the broker did not confirm in time: then the message may or may not have arrived.

            Example:
              haredo send log -d 'disk is full' -H level=warning
            """)

    @Argument(help: "The name that the service listens on.")
    var queue: String

    @OptionGroup var message: MessageOptions

    @Flag(
        inversion: .prefixedNo,
        help: "Wait until the broker confirms. Without, nobody notices if the message does not arrive.")
    var confirm = true

    @Option(
        help: ArgumentHelp("How long to wait for the broker once connected, in seconds.", valueName: "seconds"))
    var timeout = Seconds(10)

    @OptionGroup var broker: BrokerOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        self.common.apply()
        let configuration = try self.broker.configuration()
        let body = try self.message.body()
        let headers = self.message.headers()
        let id = try await Peer.with(configuration) { peer in
            try await withDeadline(self.timeout.duration) { [queue = self.queue, confirm = self.confirm] in
                // This process is gone before a reply could come.
                switch body {
                case .text(let text):
                    try await peer.send(queue, headers: headers, data: text, wantsReply: false, confirm: confirm)
                case .bytes(let bytes):
                    try await peer.send(queue, headers: headers, data: bytes, wantsReply: false, confirm: confirm)
                }
            }
        }
        guard let id else {
            throw ToolFailure(
                "the broker did not confirm within \(self.timeout) s: the message may or may not have arrived",
                .timedOut)
        }
        try StandardStreams.print(id.rawValue)
    }
}
