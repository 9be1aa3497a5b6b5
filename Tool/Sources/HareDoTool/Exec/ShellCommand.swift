// SPDX-License-Identifier: Apache-2.0
import HareDo
import Subprocess

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// The command of `haredo listen --exec`, run once per message.
struct ShellCommand: Sendable {
    private let command: String
    private let limit: Duration
    private let children: RunningChildren

    /// Bytes that a command may print.
    static let maximumOutput = 16 << 20
    /// Bytes of standard error that are looked at for its first line.
    private static let maximumErrorText = 4096
    /// How long a command has between SIGTERM and SIGKILL. Less than what draining grants a cancelled handler.
    private static let grace = Duration.milliseconds(500)

    init(_ command: String, limit: Duration, children: RunningChildren) {
        self.command = command
        self.limit = limit
        self.children = children
    }

    /// - Throws: `ServiceError` for the caller, or `CancellationError` if the service is being ended.
    func run(for message: Message) async throws -> Reply {
        var environment: [Environment.Key: String?] = [:]
        for name in MessageEnvironment.inherited(ProcessInfo.processInfo.environment.keys) {
            environment[.init(stringLiteral: name)] = .some(nil)
        }
        for (name, value) in try MessageEnvironment.variables(for: message) {
            environment[.init(stringLiteral: name)] = value
        }
        let left = message.deadline.map { min($0 - .now, self.limit) } ?? self.limit
        guard left > .zero else { throw Self.timedOut }
        // Not `Array(message.data)`, which would go through the bytes one by one.
        let input = message.data.withUnsafeBytes { Array($0) }
        let run = await self.children.newRun()
        let result: Outcome?
        do {
            result = try await withDeadline(left) { [environment] in try await self.run(run, environment, input) }
            await self.children.ended(run)
        } catch {
            await self.children.ended(run)
            throw error
        }
        // A command that was ended with the service has no result, whatever it printed.
        try Task.checkCancellation()
        guard let result else { throw Self.timedOut }
        switch result.status {
        case .exited(0): return Reply(result.output)
        case .exited(let status):
            throw ServiceError("exit-\(status)", result.errorLine ?? "the command ended with status \(status)")
        case .signaled(let signal):
            throw ServiceError("signal-\(signal)", result.errorLine ?? "the command was ended by signal \(signal)")
        }
    }

    private static let timedOut = ServiceError("timed-out", "the command did not end in time")

    private struct Outcome: Sendable {
        var status: TerminationStatus
        var output: [UInt8]
        var errorLine: String?
    }

    private enum Part: Sendable {
        case input
        case output([UInt8])
        case error(String?)
    }

    private func run(
        _ run: UInt64, _ environment: [Environment.Key: String?], _ input: [UInt8]
    ) async throws -> Outcome {
        var options = PlatformOptions()
        // A group of its own: Ctrl-C in the terminal is for haredo, which lets the command finish.
        options.processGroupID = 0
        options.teardownSequence = [
            .send(signal: .terminate, toProcessGroup: true, allowedDurationToNextStep: Self.grace)
        ]
        do {
            let result = try await Subprocess.run(
                .path("/bin/sh"), arguments: ["-c", self.command], environment: .inherit.updating(environment),
                platformOptions: options, input: .inputWriter, output: .sequence, error: .sequence
            ) { process in
                await self.children.started(run, group: process.processIdentifier.value)
                // All three at once: a command may print before it has read everything.
                return try await withThrowingTaskGroup(of: Part.self, returning: ([UInt8], String?).self) { tasks in
                    tasks.addTask {
                        // A command need not read all of its input, or any.
                        _ = try? await process.standardInputWriter.write(input)
                        try? await process.standardInputWriter.finish()
                        return .input
                    }
                    tasks.addTask { .output(try await Self.collect(process.standardOutput)) }
                    tasks.addTask { .error(try await Self.pass(process.standardError)) }
                    var output: [UInt8] = []
                    var errorLine: String?
                    while let part = try await tasks.next() {
                        switch part {
                        case .input: break
                        case .output(let bytes): output = bytes
                        case .error(let line): errorLine = line
                        }
                    }
                    return (output, errorLine)
                }
            }
            return Outcome(
                status: result.terminationStatus, output: result.closureResult.0, errorLine: result.closureResult.1)
        } catch let error as SubprocessError where error.code == .spawnFailed {
            throw ServiceError("not-started", "the command could not be started")
        }
    }

    private static func collect(_ output: SubprocessOutputSequence) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await buffer in output {
            guard bytes.count + buffer.count <= Self.maximumOutput else {
                throw ServiceError("output-too-large", "the command printed more than 16 MiB")
            }
            buffer.withUnsafeBytes { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    /// Hands standard error on to our own.
    ///
    /// - Returns: its first line that is not empty.
    private static func pass(_ error: SubprocessOutputSequence) async throws -> String? {
        var beginning: [UInt8] = []
        for try await buffer in error {
            let bytes = buffer.withUnsafeBytes { Array($0) }
            try? StandardStreams.write(bytes, to: .error)
            beginning.append(contentsOf: bytes.prefix(Self.maximumErrorText - beginning.count))
        }
        return Self.firstLine(of: beginning)
    }

    static func firstLine(of bytes: [UInt8]) -> String? {
        String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).lazy
            .map(String.init).first { !$0.allSatisfy(\.isWhitespace) }
    }
}
