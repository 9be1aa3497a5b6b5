// SPDX-License-Identifier: Apache-2.0
import Foundation
import Subprocess
import Testing

extension ToolTests {
    @Test(
        "Wrong usage is explained and exits with 64",
        arguments: [
            (["hop"], "hop"), (["call"], "queue"), (["call", "q", "--hop"], "--hop"), (["call", "q", "r"], "r"),
            (["call", "q", "-H", "a"], "name=text"), (["call", "q", "-H", "a:=b"], "number"),
            (["call", "q", "-H", "a=1", "-H", "a=2"], "twice"), (["call", "q", "--timeout", "0"], "timeout"),
            (["call", "q", "--timeout", "soon"], "soon"), (["call", "q", "-d"], "data"),
            (["listen", "q", "--echo", "--reply", "x"], "only one"), (["listen", "q", "--as", "round"], "exclusive"),
            (["listen", "q", "--concurrency", "0"], "concurrency"), (["listen", "q", "--exec", ""], "command"),
            (["listen", "q", "--attempts", "51"], "--attempts"),
            (["listen", "q", "--attempts", "2", "--park"], "only one"),
            (["listen", "q", "--echo", "--plugin", "p"], "only one"), (["plugin", "new"], "name"),
            (["plugin", "check"], "file"), (["config", "init", "--port", "0"], "--port"),
            (["config", "broker", "--ca", "x"], "--ssl"), (["plugin", "lose"], "lose"),
            (["parked", "list"], "queue"), (["parked", "list", "q", "--limit", "0"], "--limit"),
            (["parked", "purge", "q"], "--yes"), (["services", "a", "b"], "b"),
            (["broker", "--listen", "5672"], "HOST:PORT"), (["broker", "--listen", "::1:5"], "brackets"),
            (["demo", "now"], "now"), (["bench"], "operation"),
            (["bench", "run"], "'publish', 'consume', 'send' or 'rpc'"),
            (["bench", "rpc", "--from", "moon"], "'main', 'pool' or 'loop'"),
            (["bench", "rpc", "--count", "0"], "--count"),
            (["bench", "publish", "--size", "16777217"], "16 MiB"),
        ])
    func usage(arguments: [String], mentions: String) async throws {
        let result = try await haredo(arguments)
        #expect(result.status == 64)
        #expect(result.output.isEmpty)
        #expect(result.error.hasPrefix("haredo: "))
        #expect(result.error.contains(mentions))
        #expect(result.error.contains("Usage: haredo"))
    }

    @Test(
        "Every command explains itself",
        arguments: [
            "demo", "broker", "call", "send", "listen", "parked", "services", "ping", "stats", "plugin", "config",
            "start",
            "stop", "restart", "reload", "drain", "status", "control", "bench",
        ])
    func help(command: String) async throws {
        let result = try await haredo(command, "--help")
        #expect(result.status == 0)
        #expect(result.error.isEmpty)
        #expect(result.text.contains(#/Examples?:\n +haredo /#))
        #expect(result.text.contains("USAGE: haredo \(command)"))
        // Each option has its explanation beside it or below it, from column 26 on.
        let lines = result.text.split(separator: "\n", omittingEmptySubsequences: false)
        for (line, next) in zip(lines, lines.dropFirst()) where line.hasPrefix("  -") {
            let isExplained = line.contains(/\S {2,}\S/) || next.hasPrefix(String(repeating: " ", count: 26))
            #expect(isExplained, "\(line)")
        }
        #expect(try await haredo("help", command).text == result.text)
    }

    @Test("Help and version of the whole")
    func wholeHelp() async throws {
        let result = try await haredo("--help")
        #expect(result.status == 0)
        for command in ["demo", "broker", "call", "send", "listen", "bench", "HAREDO_BROKER", "Exit status"] {
            #expect(result.text.contains(command))
        }
        #expect(try await haredo().text == result.text)
        let version = try await haredo("--version")
        #expect(version.status == 0)
        #expect(version.text.wholeMatch(of: /\d+\.\d+\.\d+\n/) != nil)
    }

    @Test("Logs go to standard error, and only when asked for")
    func verbose() async throws {
        let quiet = try await haredo("demo", "--break")
        let loud = try await haredo("demo", "--break", "--verbose")
        #expect(quiet.error.split(separator: "\n").count == 1)
        #expect(loud.error.split(separator: "\n").count > 1)
        #expect(loud.output == quiet.output)
    }

    @Test("The command holds no HareDo of its own: plugins must meet the one they link", .enabled(if: isLinux))
    func linksTheSharedLibrary() async throws {
        let result = try await Subprocess.run(
            .name("readelf"), arguments: ["-d", toolPath], output: .string(limit: 1 << 20), error: .discarded)
        #expect(result.terminationStatus.isSuccess)
        #expect(result.standardOutput.contains(/\(NEEDED\).*libHareDoDynamic\.so/))
    }
}

/// Whether there is what Linux has and other systems have not.
let isLinux: Bool = {
    #if os(Linux)
        true
    #else
        false
    #endif
}()
