// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// A program that is not written in Swift, running as long as a test needs it.
///
/// It finds the broker in `HAREDO_BROKER`, says on its standard output what happens, and is gone when ``run`` returns.
final class ForeignPeer {
    private let program: String
    private let child: Child
    private var lines: AsyncStream<String>.Iterator

    var processID: Int32 { self.child.processID }

    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    /// Runs a program while `body` does, and ends it, whatever happens. What it complained of is part of the error.
    ///
    /// - Parameters:
    ///   - program: a file in `Peers`, or the name of an executable in `/usr/bin`.
    ///   - url: of the broker.
    ///   - input: for its standard input.
    static func run<R>(
        _ program: String, _ arguments: [String] = [], _ url: String, input: String? = nil,
        isolation: isolated (any Actor)? = #isolation, _ body: (ForeignPeer) async throws -> R
    ) async throws -> R {
        try await ForeignSoftware.require()
        let peer = try ForeignPeer(program, arguments, url, input: input)
        do {
            let result = try await body(peer)
            await peer.kill()
            return result
        } catch {
            await peer.kill()
            throw Failure(description: "\(error)\n\(program) \(arguments): \(await peer.child.errorOutput())")
        }
    }

    /// Runs a program to its end, which has to be a good one.
    ///
    /// - Returns: the lines it wrote.
    static func run(
        _ program: String, _ arguments: [String] = [], _ url: String, input: String? = nil,
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> [String] {
        try await self.run(program, arguments, url, input: input) { try await $0.finish() }
    }

    init(_ program: String, _ arguments: [String], _ url: String, input: String? = nil) throws {
        var (executable, arguments) = ("/usr/bin/" + program, arguments)
        for (ending, interpreter) in [(".py", ForeignSoftware.python), (".rb", ForeignSoftware.ruby)]
        where program.hasSuffix(ending) {
            executable = interpreter
            arguments.insert(ForeignSoftware.peers.appending(path: program).path, at: 0)
        }
        self.program = program
        self.child = try Child(
            executable, arguments,
            environment: [
                "HAREDO_BROKER": url, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
            ], input: input)
        self.lines = self.child.lines.makeAsyncIterator()
    }

    /// The next line it writes.
    func line(within limit: Duration = .seconds(10)) async throws -> String {
        try await self.bounded(limit) {
            guard let line = await self.nextLine() else { throw await self.failure("ended instead of writing a line") }
            return line
        }
    }

    /// Checks the next line it writes.
    func expect(_ line: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        #expect(try await self.line() == line, "\(self.program)", sourceLocation: sourceLocation)
    }

    /// Waits for its end, which has to be a good one.
    ///
    /// - Returns: the lines that nobody has read.
    func finish(within limit: Duration = .seconds(20), status expected: Int32 = 0) async throws -> [String] {
        try await self.bounded(limit) {
            var lines: [String] = []
            while let line = await self.nextLine() { lines.append(line) }
            let status = await self.child.end()
            guard status == expected else { throw await self.failure("exited with \(status), after writing \(lines)") }
            return lines
        }
    }

    /// Asks it to end, and waits until it has: in order, or the test fails.
    func stop() async throws {
        self.child.terminate()
        let rest = try await self.finish()
        #expect(rest == [], "\(self.program)")
    }

    /// Ends it at once, as a crash would.
    func kill() async {
        self.child.kill()
        _ = await self.child.end()
    }

    private func nextLine() async -> String? {
        var lines = self.lines
        defer { self.lines = lines }
        return await lines.next(isolation: #isolation)
    }

    /// Whoever waits for a program waits for its lines or its end, and both come when it is killed.
    private func bounded<R>(_ limit: Duration, _ body: () async throws -> R) async throws -> R {
        let child = self.child
        let watchdog = Task {
            try await Task.sleep(for: limit)
            child.kill()
            return true
        }
        do {
            let result = try await body()
            watchdog.cancel()
            return result
        } catch {
            watchdog.cancel()
            if (try? await watchdog.value) == true { throw TookTooLong(what: self.program, limit: limit) }
            throw error
        }
    }

    private func failure(_ what: String) async -> Failure {
        Failure(description: "\(self.program) \(what)")
    }
}
