// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// The brokers that a test body runs on: one of our own, and RabbitMQ where its URL is in HAREDO_TEST_RABBITMQ.
enum TestBroker: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case embedded
    case rabbitmq

    var testDescription: String { self.rawValue }

    static let rabbitMQ: String? = {
        guard let url = ProcessInfo.processInfo.environment["HAREDO_TEST_RABBITMQ"], !url.isEmpty else { return nil }
        return url
    }()

    static let available: [TestBroker] = {
        guard Self.rabbitMQ == nil else { return TestBroker.allCases }
        let line = "!!! HAREDO_TEST_RABBITMQ is not set: the tests on RabbitMQ are SKIPPED !!!\n"
        FileHandle.standardError.write(Data(line.utf8))
        return [.embedded]
    }()

    /// Runs a test body on the broker, and writes down that it did.
    ///
    /// - Parameter body: gets the broker's URL.
    func run(_ name: String = #function, _ body: @escaping @Sendable (String) async throws -> Void) async throws {
        Ledger.add("\(self.rawValue) tool.\(name)")
        switch self {
        case .embedded:
            try await withTool("broker", "--listen", "127.0.0.1:0") { broker in try await body(broker.firstLine()) }
        case .rabbitmq: try await body(try #require(Self.rabbitMQ))
        }
    }
}

/// The file that says which test bodies ran on which broker.
enum Ledger {
    static func add(_ line: String) {
        guard let path = ProcessInfo.processInfo.environment["HAREDO_TEST_LEDGER"], !path.isEmpty else { return }
        let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            Issue.record("cannot open the ledger \(path)")
            return
        }
        defer { close(descriptor) }
        // One write: other test processes append as well.
        let bytes = Array((line + "\n").utf8)
        #expect(write(descriptor, bytes, bytes.count) == bytes.count)
    }
}

/// A queue name that no other test uses, also not on a broker that several tests share.
func uniqueQueue() -> String { "tool-test-" + String(UInt64.random(in: 0 ... .max), radix: 36) }

@Suite("Test brokers")
struct TestBrokerTests {
    @Test("A machine that checks everything has RabbitMQ")
    func rabbitMQIsThereInCI() {
        let isCI = ProcessInfo.processInfo.environment["CI"] != nil
        #expect(!isCI || TestBroker.rabbitMQ != nil, "CI is set and HAREDO_TEST_RABBITMQ is not")
    }
}
