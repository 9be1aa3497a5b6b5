// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

struct Call: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sends a request and prints the reply.",
        discussion: """
            Prints the body of the reply as it is. A newline follows a reply that is text, not empty, and does not end \
            with one; --raw leaves it out. Exits with 1 at once if nobody listens or if the service failed, and with 2 if \
            no reply came in time.

            Examples:
              haredo call rpc -d jujifruit
              haredo call rpc -H i:=1 --timeout 0.5
              haredo call resize -d @photo.jpg --raw >small.jpg
            """)

    @Argument(help: "The name that the service listens on.")
    var queue: String

    @OptionGroup var message: MessageOptions

    @Option(
        help: ArgumentHelp(
            "How long to wait for the reply once connected, in seconds; fractions are allowed.", valueName: "seconds"))
    var timeout = Seconds(1)

    @Flag(help: "Print the reply's bytes and nothing else.")
    var raw = false

    @OptionGroup var broker: BrokerOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        self.common.apply()
        let configuration = try self.broker.configuration()
        let body = try self.message.body()
        let headers = self.message.headers()
        let (queue, timeout) = (self.queue, self.timeout.duration)
        let reply = try await Progress.during("waiting for the reply") {
            try await Peer.with(configuration) { peer in
                switch body {
                case .text(let text): try await peer.call(queue, headers: headers, data: text, timeout: timeout)
                case .bytes(let bytes): try await peer.call(queue, headers: headers, data: bytes, timeout: timeout)
                }
            }
        }
        guard let reply else { throw ToolFailure("no reply from '\(self.queue)' within \(self.timeout) s", .timedOut) }
        try StandardStreams.write(Self.printed(reply.data, raw: self.raw), to: .output)
    }

    /// What is printed of a reply's body.
    static func printed(_ body: Bytes, raw: Bool) -> [UInt8] {
        let newline = UInt8(ascii: "\n")
        var bytes = body.withUnsafeBytes { Array($0) }
        if !raw, let last = bytes.last, last != newline, body.text != nil { bytes.append(newline) }
        return bytes
    }
}
