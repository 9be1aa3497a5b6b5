// SPDX-License-Identifier: Apache-2.0
import Foundation
import Subprocess
import Testing

@testable import HareDoTool

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// How a run of `haredo` ended.
struct ToolResult: Sendable {
    /// The exit status, or 128 and the signal that ended it.
    var status: Int32
    var output: [UInt8]
    var error: String
    var duration: Duration

    var text: String { String(decoding: self.output, as: UTF8.self) }
    var lines: [String] { self.text.split(separator: "\n").map(String.init) }
}

struct ToolTestError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// A `haredo` that runs, and what it has written so far.
actor RunningTool {
    enum Stream {
        case output
        case error
    }

    nonisolated let process: pid_t
    private(set) var output: [UInt8] = []
    private(set) var error: [UInt8] = []
    private var openStreams = 2
    private(set) var wasInterrupted = false

    /// How long a test waits for something to be written, unless it says how long.
    private static let patience = Duration.seconds(30)

    init(process: pid_t) { self.process = process }

    fileprivate func wrote(_ bytes: [UInt8], to stream: RunningTool.Stream) {
        switch stream {
        case .output: self.output += bytes
        case .error: self.error += bytes
        }
    }
    fileprivate func closed() { self.openStreams -= 1 }

    /// Asks it to end, as Ctrl-C does.
    func interrupt() {
        self.wasInterrupted = true
        kill(self.process, SIGINT)
    }

    /// Asks it to end, as `kill` does.
    func terminate() {
        self.wasInterrupted = true
        kill(self.process, SIGTERM)
    }

    /// Waits for a whole line on standard output.
    func firstLine() async throws -> String {
        try await self.wait { tool in
            tool.output.firstIndex(of: UInt8(ascii: "\n")).map { String(decoding: tool.output[..<$0], as: UTF8.self) }
        }
    }

    /// Waits until `text` is written.
    func wait(
        for text: String, in stream: RunningTool.Stream = .error, within patience: Duration = RunningTool.patience
    ) async throws {
        _ = try await self.wait(within: patience) { tool -> Bool? in
            String(decoding: stream == .error ? tool.error : tool.output, as: UTF8.self).contains(text) ? true : nil
        }
    }

    /// Waits for a line `KEY VALUE` on standard error.
    func value(of key: String) async throws -> String {
        try await self.wait { tool in
            String(decoding: tool.error, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
                .dropLast().first { $0.hasPrefix(key + " ") }.map { String($0.dropFirst(key.count + 1)) }
        }
    }

    nonisolated var isRunning: Bool { kill(self.process, 0) == 0 }

    private func wait<R>(
        within patience: Duration = RunningTool.patience, _ condition: (isolated RunningTool) -> R?
    ) async throws -> R {
        let end = ContinuousClock.now + patience
        while true {
            if let result = condition(self) { return result }
            guard self.openStreams > 0, .now < end else {
                throw ToolTestError(
                    "haredo did not write what the test waits for. It wrote: "
                        + String(decoding: self.output + self.error, as: UTF8.self))
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }
}

private let executable: FilePath = {
    #if os(Linux)
        // The test bundle is an executable itself, and lies beside what was built with it.
        let bundle = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    #else
        let bundle = Bundle.allBundles.first { $0.bundlePath.hasSuffix(".xctest") }?.bundlePath ?? ""
    #endif
    return FilePath(bundle).removingLastComponent().appending("haredo")
}()

var toolPath: String { executable.string }

/// Runs `haredo` for as long as `body` does; then it is interrupted and has to end. It is killed when its time is over, and
/// when `body` throws.
///
/// - Parameters:
///   - broker: goes into HAREDO_BROKER.
///   - limit: for all of it.
@discardableResult
func withTool(
    _ arguments: String..., broker: String? = nil, environment: [String: String] = [:], input: [UInt8] = [],
    limit: Duration = .seconds(90), _ body: @escaping @Sendable (RunningTool) async throws -> Void
) async throws -> ToolResult {
    try await runTool(
        arguments, broker: broker, environment: environment, input: input, limit: limit, interrupts: true, body)
}

/// Runs `haredo` until it ends by itself. A call waits long for its reply, unless the test says how long.
func haredo(
    _ arguments: String..., broker: String? = nil, environment: [String: String] = [:], input: [UInt8] = [],
    limit: Duration = .seconds(60)
) async throws -> ToolResult {
    var arguments = arguments
    if arguments.first == "call", !arguments.contains("--timeout") {
        // The first of its options: behind `--` or `-d` it would be none.
        arguments.insert(contentsOf: ["--timeout", "30"], at: 1)
    }
    return try await runTool(
        arguments, broker: broker, environment: environment, input: input, limit: limit, interrupts: false
    ) { _ in }
}

func haredo(_ arguments: [String], environment: [String: String] = [:]) async throws -> ToolResult {
    try await runTool(
        arguments, broker: nil, environment: environment, input: [], limit: .seconds(60), interrupts: false
    ) { _ in }
}

/// Runs a shell script that becomes `haredo` in the end. Otherwise as ``withTool``.
func withShell(
    _ script: String, broker: String, _ body: @escaping @Sendable (RunningTool) async throws -> Void
) async throws -> ToolResult {
    try await runTool(
        ["-c", script], of: "/bin/sh", broker: broker, environment: [:], input: [], limit: .seconds(90),
        interrupts: true, body)
}

private func runTool(
    _ arguments: [String], of program: FilePath = executable, broker: String?, environment: [String: String],
    input: [UInt8], limit: Duration, interrupts: Bool, _ body: @escaping @Sendable (RunningTool) async throws -> Void
) async throws -> ToolResult {
    var variables: [Environment.Key: String?] = ["HAREDO_BROKER": broker]
    for (name, value) in environment { variables[.init(stringLiteral: name)] = value }
    var options = PlatformOptions()
    options.teardownSequence = []
    let start = ContinuousClock.now
    let result = try await withDeadline(limit) { [variables, options] in
        try await Subprocess.run(
            .path(program), arguments: Arguments(arguments), environment: .inherit.updating(variables),
            platformOptions: options, input: .array(input), output: .sequence, error: .sequence
        ) { process in
            let tool = RunningTool(process: process.processIdentifier.value)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await read(process.standardOutput, .output, tool) }
                group.addTask { try await read(process.standardError, .error, tool) }
                do {
                    try await body(tool)
                } catch {
                    // Nobody else ends it, and what it writes is read to the end.
                    kill(tool.process, SIGKILL)
                    throw error
                }
                if interrupts, await !tool.wasInterrupted { await tool.interrupt() }
                try await group.waitForAll()
            }
            return (await tool.output, await tool.error)
        }
    }
    guard let result else { throw ToolTestError("haredo \(arguments) did not end within \(limit)") }
    let (output, error) = result.closureResult
    let status: Int32 =
        switch result.terminationStatus {
        case .exited(let status): status
        case .signaled(let signal): 128 + signal
        }
    return ToolResult(
        status: status, output: output, error: String(decoding: error, as: UTF8.self), duration: .now - start)
}

private func read(
    _ sequence: SubprocessOutputSequence, _ stream: RunningTool.Stream, _ tool: RunningTool
) async throws {
    for try await buffer in sequence {
        await tool.wrote(buffer.withUnsafeBytes { Array($0) }, to: stream)
    }
    await tool.closed()
}

/// Whether a process is gone, if necessary after a moment.
func isGone(_ process: String, within limit: Duration = .seconds(10)) async throws -> Bool {
    guard let id = pid_t(process) else { throw ToolTestError("'\(process)' is not a process id") }
    let end = ContinuousClock.now + limit
    while kill(id, 0) == 0 {
        guard .now < end else { return false }
        try await Task.sleep(for: .milliseconds(20))
    }
    return true
}
