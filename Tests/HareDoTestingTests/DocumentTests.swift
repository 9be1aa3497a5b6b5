// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import Foundation
import HareDo
import HareDoTesting
import Testing

@Suite("The testing library")
struct DocumentTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    @Test("Its document shows the test file that runs here")
    func document() throws {
        let document = try String(contentsOf: Self.root.appending(path: "Docs/testing.md"), encoding: .utf8)
        let file = Self.root.appending(path: "Tests/HareDoTestingTests/OrderServiceTests.swift")
        #expect(document.contains("```swift\n\(try String(contentsOf: file, encoding: .utf8))```"))
    }

    @Test("Its first example works")
    func echoes() async throws {
        try await withBroker { broker, peer in
            peer.timeout = .seconds(10)
            try await peer.listen(on: "echo") { "\($0.text ?? "")" }
            #expect(try await peer.call("echo", data: "jujifruit")?.text == "jujifruit")
        }
    }

    @Test("Brokers of tests do not meet, and end with what the test throws")
    func apart() async throws {
        struct Planned: Error {}
        var urls: Set<String> = []
        await #expect(throws: Planned.self) {
            try await withBroker { one in
                try await withBroker { other in
                    urls = [one.url, other.url]
                    throw Planned()
                }
            }
        }
        #expect(urls.count == 2)
        for url in urls {
            await #expect(throws: HareDoError.self) { try await Peer.with(.url(url)) { _ in } }
        }
    }

    @Test("Waiting for what does not come says what there is instead")
    func waiting() async throws {
        try await withBroker { broker, peer in
            try await peer.listen(on: "echo") { "\($0.text ?? "")" }
            let error = await #expect(throws: BrokerWaitTimeout.self) {
                try await broker.wait(within: .milliseconds(20)) { $0.queue("echo") == nil }
            }
            #expect(error?.description.contains("echo: 0 ready, 0 unacknowledged, 1 consumers") == true)
        }
    }
}
