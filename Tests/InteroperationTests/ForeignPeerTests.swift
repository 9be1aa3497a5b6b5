// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@Suite("Programs that tests run are ended, and say why they failed", .foreignSoftware)
struct ForeignPeerTests {
    /// Whether a process is gone, and nobody has to ask for its status any more.
    static func isGone(_ process: Int32) -> Bool { kill(process, 0) == -1 && errno == ESRCH }

    @Test("One that hangs is ended at the deadline")
    func hanging() async throws {
        var process: Int32 = 0
        do {
            try await ForeignPeer.run("sh", ["-c", "echo alas >&2; echo one; exec sleep 1000"], "") { peer in
                process = peer.processID
                try await peer.expect("one")
                #expect(!Self.isGone(process))
                _ = try await peer.line(within: .milliseconds(100))
                Issue.record("it wrote a line")
            }
            Issue.record("nothing was thrown")
        } catch let error as ForeignPeer.Failure {
            #expect(error.description.contains("sh took longer than 0.1 seconds"))
            #expect(error.description.hasSuffix("alas\n"))
        }
        #expect(Self.isGone(process))
    }

    @Test("One that fails, or ends early, fails the test with its errors", arguments: ["line", "finish"])
    func failing(waiting: String) async throws {
        do {
            try await ForeignPeer.run("sh", ["-c", "echo alas >&2; exit 3"], "") { peer in
                if waiting == "line" { _ = try await peer.line() } else { _ = try await peer.finish() }
            }
            Issue.record("nothing was thrown")
        } catch let error as ForeignPeer.Failure {
            #expect(error.description.contains(waiting == "line" ? "ended instead" : "exited with 3, after writing []"))
            #expect(error.description.hasSuffix("alas\n"))
        }
    }

    @Test("One that nobody waits for is ended with the test, deaf or not, and with it what it started")
    func left() async throws {
        var processes: [Int32] = []
        try await ForeignPeer.run("sh", ["-c", "trap '' TERM; sleep 1000 & echo $!; wait"], "") { peer in
            processes = [peer.processID, try #require(Int32(try await peer.line()))]
        }
        try await eventually("they are gone") { processes.allSatisfy(Self.isGone) }
    }
}
