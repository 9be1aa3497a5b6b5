// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization

/// A running process: its output as lines, its errors as text, and its end.
final class Child: Sendable {
    /// Lines that wait to be read; a program that says more is at fault.
    static let lineLimit = 10_000
    /// Bytes kept of what it writes to its standard error.
    static let errorLimit = 64 << 10

    /// What it wrote, line by line; ends when it closes its output.
    let lines: AsyncStream<String>

    private let process = Process()
    private let output = Pipe()
    private let errors = Pipe()
    private let errorText = Mutex(Data())
    /// The beginning of a line whose end is still to come.
    private let partialLine = Mutex(Data())
    private let errorsEnded: AsyncStream<Never>
    private let ending = Mutex(Ending())

    private struct Ending {
        var status: Int32?
        var waiters: [CheckedContinuation<Int32, Never>] = []
    }

    init(_ executable: String, _ arguments: [String], environment: [String: String], input: String?) throws {
        let (lines, lineSource) = AsyncStream.makeStream(
            of: String.self, bufferingPolicy: .bufferingOldest(Self.lineLimit))
        let (errorsEnded, errorsEnd) = AsyncStream.makeStream(of: Never.self)
        self.lines = lines
        self.errorsEnded = errorsEnded
        self.process.executableURL = URL(filePath: executable)
        self.process.arguments = arguments
        self.process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        self.process.standardOutput = self.output
        self.process.standardError = self.errors
        let stdin = input.map { _ in Pipe() }
        self.process.standardInput = stdin ?? FileHandle.nullDevice
        self.process.terminationHandler = { [weak self] process in
            // As shells have it: 128 and the number of the signal.
            self?.ended(process.terminationStatus + (process.terminationReason == .uncaughtSignal ? 128 : 0))
        }
        try Self.withoutBlockedSignals { try self.process.run() }
        // On threads of their own, which end with the child: with readability handlers in their place (Foundation 6.3 on
        // Linux) one run of these tests crashed in libdispatch and another hung.
        Thread.detachNewThread {
            while case let data = self.output.fileHandleForReading.availableData {
                for line in self.takeLines(data) { lineSource.yield(line) }
                guard !data.isEmpty else { break }
            }
            lineSource.finish()
        }
        Thread.detachNewThread {
            while case let data = self.errors.fileHandleForReading.availableData, !data.isEmpty {
                self.errorText.withLock { $0.append(data.prefix(Self.errorLimit - $0.count)) }
            }
            errorsEnd.finish()
        }
        if let input, let stdin {
            // Little enough for the pipe to take at once.
            try? stdin.fileHandleForWriting.write(contentsOf: Data(input.utf8.prefix(4096)))
            try? stdin.fileHandleForWriting.close()
        }
    }

    /// Threads of the run-time block signals, children inherit that, and then they are deaf to all but SIGKILL.
    private static func withoutBlockedSignals(_ body: () throws -> Void) rethrows {
        var (none, before) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        try body()
    }

    var processID: Int32 { self.process.processIdentifier }

    /// Asks it to end.
    func terminate() {
        guard self.process.isRunning else { return }
        Foundation.kill(self.processID, SIGTERM)
    }

    /// Ends it at once, and what it started with it: Foundation takes a process for running as long as a child of its
    /// does, and gives each a process group.
    func kill() {
        guard self.process.isRunning else { return }
        Foundation.kill(-self.processID, SIGKILL)
    }

    /// Waits for the end. Cancelling does not end the wait: it is for those who have killed it, or will.
    func end() async -> Int32 {
        await withCheckedContinuation { continuation in
            let status = self.ending.withLock { ending in
                if ending.status == nil { ending.waiters.append(continuation) }
                return ending.status
            }
            if let status { continuation.resume(returning: status) }
        }
    }

    /// What it wrote to its standard error until it ended.
    func errorOutput() async -> String {
        // A child of its own may hold the pipe open.
        let errorsEnded = self.errorsEnded
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in errorsEnded {} }
            group.addTask { try? await Task.sleep(for: .seconds(10)) }
            await group.next()
            group.cancelAll()
        }
        return String(decoding: self.errorText.withLock { $0 }, as: UTF8.self)
    }

    /// - Parameter data: what was read; nothing at the end.
    private func takeLines(_ data: Data) -> [String] {
        self.partialLine.withLock { partial in
            partial.append(data)
            var lines = partial.split(separator: 0x0a, omittingEmptySubsequences: false)
            let last = Data(lines.popLast() ?? Data())
            if data.isEmpty, !last.isEmpty { lines.append(last) }
            partial = last
            return lines.map { String(decoding: $0, as: UTF8.self) }
        }
    }

    private func ended(_ status: Int32) {
        let waiters = self.ending.withLock { ending in
            ending.status = status
            defer { ending.waiters = [] }
            return ending.waiters
        }
        for waiter in waiters { waiter.resume(returning: status) }
    }
}
