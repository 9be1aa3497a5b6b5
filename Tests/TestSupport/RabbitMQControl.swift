// SPDX-License-Identifier: Apache-2.0
import Foundation

/// A RabbitMQ in the hands of its operator: `Scripts/rabbitmq.sh`, and `rabbitmqctl` through it.
///
/// What a test does to the RabbitMQ that all tests share must not disturb the others. Whoever closes connections, sets alarms
/// or kills nodes starts one of its own, with ``TestBroker/runOnOwnRabbitMQ(nodes:tls:_:isolation:_:)``.
public struct RabbitMQControl: Sendable {
    /// A command ended with an error, or not in time.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String

        public init(description: String) { self.description = description }
    }

    /// Whether the TLS listener insists on a client certificate; `expired`: not, and its own is not valid any more.
    public enum TLS: String, Sendable { case optional, required, expired }

    /// How long a start of several nodes may take.
    private static let startLimit = Duration.seconds(120)
    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../Scripts/rabbitmq.sh").standardized.path

    /// The one all tests share, if `Scripts/test.sh` started it.
    public static let shared: RabbitMQControl? = ProcessInfo.processInfo.environment["HAREDO_TEST_RABBITMQ_CTL"]
        .map { RabbitMQControl(command: $0, directory: nil, variables: [:]) }

    /// For the shell, which appends the arguments to it.
    private let command: String
    /// Where its files are; `nil` for the shared one.
    public let directory: String?
    private let variables: [String: String]

    /// Starts a RabbitMQ on ports of its own, which ends with this process if nobody calls ``stop()``.
    ///
    /// - Parameters:
    ///   - nodes: more than one are joined into a cluster. One takes about 6 s, three take about 16 s.
    ///   - tls: whether there is a TLS listener too, with certificates in `tls` under ``directory``.
    public static func start(nodes: Int = 1, tls: TLS? = nil) async throws -> RabbitMQControl {
        // A short path: RabbitMQ makes sockets and long file names below it.
        let directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("hdrmq-\(String(UInt32.random(in: 0 ... .max), radix: 36))").path
        var variables = [
            "HAREDO_RABBITMQ_DIR": directory,
            "HAREDO_RABBITMQ_OWNER": String(ProcessInfo.processInfo.processIdentifier),
            "HAREDO_RABBITMQ_PORT": "", "HAREDO_RABBITMQ_TLS": "",
        ]
        if let tls { variables["HAREDO_RABBITMQ_TLS"] = tls.rawValue }
        let control = RabbitMQControl(command: "'\(Self.script)'", directory: directory, variables: variables)
        try await control.run("start", "\(nodes)", within: Self.startLimit)
        return control
    }

    /// Runs `body` on a RabbitMQ of its own, and stops that whatever happens.
    public static func with<R>(
        nodes: Int = 1, tls: TLS? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: (RabbitMQControl) async throws -> R
    ) async throws -> R {
        let control = try await Self.start(nodes: nodes, tls: tls)
        do {
            let result = try await body(control)
            await control.stop()
            return result
        } catch {
            await control.stop()
            throw error
        }
    }

    /// Ends it with everything it started, and removes its files. The shared one is left to those who started it.
    public func stop() async {
        guard self.directory != nil else { return }
        // Not cut short by the end of the test's task: what is left would run until this process ends.
        let control = self
        _ = await Task { try? await control.run("stop", within: .seconds(60)) }.value
    }

    /// `amqp://guest:guest@127.0.0.1:PORT` of one node, or with the addresses of all nodes.
    public func url(node: Int? = nil) async throws -> String {
        try await self.run(node.map { ["url", "\($0)"] } ?? ["url"], within: .seconds(10))
    }

    /// `amqps://guest:guest@localhost:PORT` of one node, or with the addresses of all nodes.
    public func tlsURL(node: Int? = nil) async throws -> String {
        try await self.run(node.map { ["url-tls", "\($0)"] } ?? ["url-tls"], within: .seconds(10))
    }

    /// `rabbitmqctl --silent` on one node: no table headers.
    ///
    /// - Returns: What it printed, without white space at the ends.
    /// - Throws: ``Failure`` with what it printed when it ends with an error, or has not ended after 60 seconds.
    @discardableResult
    public func ctl(_ arguments: String..., node: Int = 1) async throws -> String {
        try await self.run(["ctl", "\(node)", "--silent"] + arguments, within: .seconds(60))
    }

    /// Returns when what was declared on a node is on its disk: it writes its tables up to two seconds later, and a node that
    /// is killed before comes back without them.
    public func flush(node: Int = 1) async throws { try await self.ctl("eval", "mnesia:sync_log().", node: node) }

    /// Kills a node with SIGKILL and returns when it is gone. Its files stay.
    public func crash(node: Int = 1) async throws { try await self.run("crash", "\(node)", within: .seconds(10)) }

    /// Starts a crashed node again and returns when it speaks AMQP: after about 5 s.
    public func resume(node: Int = 1) async throws {
        try await self.run("resume", "\(node)", within: Self.startLimit)
    }

    @discardableResult
    private func run(_ arguments: String..., within limit: Duration) async throws -> String {
        try await self.run(arguments, within: limit)
    }

    private func run(_ arguments: [String], within limit: Duration) async throws -> String {
        // Into a file: a pipe would be open as long as anything that the command leaves in the background.
        let output = FileManager.default.temporaryDirectory.appendingPathComponent("haredo-\(UUID().uuidString)")
        guard FileManager.default.createFile(atPath: output.path, contents: nil) else {
            throw Failure(description: "cannot write \(output.path)")
        }
        defer { try? FileManager.default.removeItem(at: output) }
        let file = try FileHandle(forWritingTo: output)
        defer { try? file.close() }

        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", "exec \(self.command) \"$@\"", "sh"] + arguments
        process.environment = ProcessInfo.processInfo.environment.merging(self.variables) { $1 }
            .filter { !$0.value.isEmpty }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = file
        process.standardError = file
        let ended = ProcessEnd(process)
        let status = try await ended.wait(within: limit)
        let text = String(decoding: try Data(contentsOf: output), as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        guard status == 0 else {
            throw Failure(description: "rabbitmq.sh \(arguments.joined(separator: " ")): \(status): \(text)")
        }
        return text
    }
}

/// One run of a process: awaited without holding a thread, ended at its limit and when the task is cancelled.
private struct ProcessEnd: @unchecked Sendable {
    // `Process` is not Sendable, but it is only started by `wait`, and afterwards only asked to terminate, which locks.
    private let process: Process

    init(_ process: Process) { self.process = process }

    func wait(within limit: Duration) async throws -> Int32 {
        let timer = Task {
            try await Task.sleep(for: limit)
            self.end()
        }
        defer { timer.cancel() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                self.process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
                do { try self.start() } catch {
                    self.process.terminationHandler = nil
                    continuation.resume(throwing: error)
                }
            }
        } onCancel: {
            self.end()
        }
    }

    /// With all signals open: the threads that tasks run on block most of them, and what is started would inherit that and
    /// never heed a SIGTERM.
    private func start() throws {
        var none = sigset_t()
        var before = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        try self.process.run()
    }

    private func end() {
        // Asking a process that was never started would be a programmer's error to Foundation.
        if self.process.isRunning { self.process.terminate() }
    }
}
