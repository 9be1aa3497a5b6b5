// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import Foundation

/// The brokers that the same test bodies run on.
public enum TestBroker: String, Sendable, CaseIterable, CustomStringConvertible {
    case embedded
    /// The embedded one as RabbitMQ 3.10 behaves, where that differs.
    case lenient
    /// A real one: `HAREDO_TEST_RABBITMQ` is its URL. `Scripts/test.sh` starts it.
    case rabbitMQ = "rabbitmq"

    public var description: String { self.rawValue }

    public struct MissingBroker: Error, CustomStringConvertible {
        public var description: String {
            "HAREDO_TEST_RABBITMQ is not set: `make test` starts RabbitMQ and sets it. CI does not go without."
        }
    }

    private static let environment = ProcessInfo.processInfo.environment
    static var rabbitMQURL: String? { self.environment["HAREDO_TEST_RABBITMQ"] }

    /// The embedded broker, and RabbitMQ if there is one. In CI always both: there its absence fails the tests.
    public static let available: [TestBroker] = {
        if Self.rabbitMQURL != nil || Self.environment["CI"] != nil { return [.embedded, .rabbitMQ] }
        FileHandle.standardError.write(
            Data(
                "\n!!! No RabbitMQ (HAREDO_TEST_RABBITMQ is not set): tests run on the embedded broker ONLY !!!\n\n"
                    .utf8))
        return [.embedded]
    }()

    /// The same, and the embedded one in its other mode: for tests of how brokers behave.
    public static let modes: [TestBroker] = Self.available + [.lenient]

    /// Whether it refuses what RabbitMQ 4.3 refuses. The RabbitMQ of the tests is older.
    public var isStrict: Bool { self == .embedded }

    /// Runs a test body on the broker, and enters it in the ledger of what ran where.
    ///
    /// - Parameter test: for the ledger; the function that runs.
    public func run<R: Sendable>(
        _ test: String = #function, isolation: isolated (any Actor)? = #isolation,
        _ body: (_ url: String) async throws -> R
    ) async throws -> R {
        switch self {
        case .rabbitMQ:
            guard let url = Self.rabbitMQURL else { throw MissingBroker() }
            try Self.enter("\(self.rawValue) \(test)")
            return try await body(url)
        case .embedded, .lenient:
            try Self.enter("\(self.rawValue) \(test)")
            return try await AMQPEmbeddedBroker.with(self.configuration) { broker in try await body(broker.url) }
        }
    }

    /// Of the embedded one.
    var configuration: AMQPEmbeddedBroker.Configuration {
        var configuration = AMQPEmbeddedBroker.Configuration()
        configuration.compatibility = self.isStrict ? .strict : .lenient
        return configuration
    }

    /// Whether tests that only RabbitMQ can run have one: in CI always, and its absence fails them.
    public static var hasRabbitMQ: Bool { Self.available.contains(.rabbitMQ) }

    /// The same for tests of its TLS listener.
    public static var hasRabbitMQTLS: Bool {
        self.hasRabbitMQ && (self.environment["HAREDO_TEST_RABBITMQ_TLS"] != nil || self.environment["CI"] != nil)
    }

    /// Runs a test body that is about RabbitMQ itself, on the one that all tests share, and enters it in the ledger.
    public static func runOnRabbitMQ<R>(
        _ test: String = #function, isolation: isolated (any Actor)? = #isolation,
        _ body: (_ url: String) async throws -> R
    ) async throws -> R {
        guard let url = Self.rabbitMQURL else { throw MissingBroker() }
        try Self.enter("rabbitmq-only \(test)")
        return try await body(url)
    }

    /// Runs a test body on a RabbitMQ that nobody else uses and that is gone afterwards, and enters it in the ledger.
    public static func runOnOwnRabbitMQ<R>(
        nodes: Int = 1, tls: RabbitMQControl.TLS? = nil, _ test: String = #function,
        isolation: isolated (any Actor)? = #isolation, _ body: (RabbitMQControl) async throws -> R
    ) async throws -> R {
        guard Self.rabbitMQURL != nil else { throw MissingBroker() }
        try Self.enter("rabbitmq-only \(test)")
        return try await RabbitMQControl.with(nodes: nodes, tls: tls, body)
    }

    /// Runs a test body on a RabbitMQ that may be disturbed, started once for all such tests, and enters it in the ledger.
    ///
    /// Whoever uses it leaves it running and without alarms, and belongs to a suite that runs one test at a time.
    public static func runOnSpareRabbitMQ<R>(
        _ test: String = #function, isolation: isolated (any Actor)? = #isolation,
        _ body: (RabbitMQControl) async throws -> R
    ) async throws -> R {
        guard Self.rabbitMQURL != nil else { throw MissingBroker() }
        try Self.enter("rabbitmq-only \(test)")
        return try await body(try await Self.spare.value)
    }

    /// Ends with this process: its script watches over that.
    private static let spare = Task { try await RabbitMQControl.start() }

    /// One line per body that ran, in the file that `HAREDO_TEST_LEDGER` names.
    static func enter(_ entry: String) throws {
        guard let path = Self.environment["HAREDO_TEST_LEDGER"] else { return }
        let file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0o644)
        guard file >= 0 else { throw CocoaError(.fileWriteUnknown) }
        defer { close(file) }
        let line = Array("\(entry)\n".utf8)
        guard write(file, line, line.count) == line.count else { throw CocoaError(.fileWriteUnknown) }
    }

    /// A name that no other test uses.
    public static func uniqueName(_ prefix: String = "test") -> String {
        "\(prefix).\(String(UInt64.random(in: 0 ... .max), radix: 36))"
    }
}

extension [TestBroker] {
    /// Runs a test body on all of them at once: for one that waits for clocks most of its time.
    public func runAtOnce(
        _ test: String = #function, _ body: @escaping @Sendable (_ url: String) async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for broker in self {
                group.addTask { try await broker.run(test) { url in try await body(url) } }
            }
            try await group.waitForAll()
        }
    }
}
