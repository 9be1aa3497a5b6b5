// SPDX-License-Identifier: Apache-2.0

/// What client and broker say to each other from the first byte on, recorded from the two.
package struct Conversation: Sendable {
    /// What the client says, one element per turn.
    package private(set) var client: [[UInt8]] = []
    /// What the broker answers to each.
    package private(set) var broker: [[UInt8]] = []

    /// The conversation of ``ClientApplication`` with the embedded broker.
    package static let recorded: Result<Conversation, any Error> = Result { try Conversation(recording: ()) }

    private init(recording: Void) throws {
        let client = try ClientUnderTest()
        let broker = try BrokerUnderTest()
        while true {
            let said = client.takeOutput()
            guard !said.isEmpty else { break }
            broker.receive(said)
            let answer = broker.takeOutput()
            self.client.append(said)
            self.broker.append(answer)
            try client.receive(answer)
        }
        // Or everything that is tested with it would test little.
        guard client.isOpen, broker.isOpen, client.application.takeReceived().count == 2 else {
            throw Finding("the conversation that was to be recorded broke off")
        }
        try broker.end()
        _ = client.takeOutput()
        try client.end()
    }
}
