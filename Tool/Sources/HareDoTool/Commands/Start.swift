// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo
import HareDoDaemon

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

struct Start: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Starts the daemon, and returns when it is ready.",
        discussion: """
            Shows what it loads, and what it could not load. From then on it logs to haredo.log in its runtime folder \
            (HAREDO_RUNTIME_DIR), or to where its configuration says. With --foreground it stays, until it is interrupted \
            (SIGINT or SIGTERM: what was begun is finished, a second one ends it at once); SIGHUP reads the configuration \
            again.

            Examples:
              haredo start
              haredo start --foreground --config ./haredo.conf
            """)

    @Flag(help: "Stay, and log to standard error.")
    var foreground = false

    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        if self.foreground {
            try await DaemonProcess(options: self.daemon).run()
        } else {
            try await self.startInBackground()
        }
    }

    func startInBackground() async throws {
        // Mistakes are told here, before anything is started.
        _ = try self.daemon.file.read()
        if let owner = self.daemon.running { throw PidFile.isTaken(self.daemon.pidPath, by: owner) }
        let runtime = self.daemon.runtime
        try runtime.prepare()
        var environment = ProcessInfo.processInfo.environment
        environment[Background.logVariable] = runtime.logFile
        var arguments = ["start", "--foreground", "--config", self.daemon.file.path]
        if let pidFile = self.daemon.pidFile { arguments += ["--pid-file", pidFile] }
        let started = try Background.start(Self.program, arguments, environment: environment)
        // Until it is ready, or gone.
        try Relay.toStandardError(from: started.standardError)
        let limit = ContinuousClock.now + .seconds(10)
        while .now < limit {
            if let status = Background.exitStatus(of: started.process) { throw ExitCode(status == 0 ? 1 : status) }
            if self.daemon.running?.process == started.process {
                try StandardStreams.print("started: process \(started.process)")
                return
            }
            // It has said its last word, and is about to be gone.
            try await Task.sleep(for: .milliseconds(10))
        }
        throw ToolFailure("the daemon (process \(started.process)) is neither ready nor gone")
    }

    private static var program: String {
        #if os(Linux)
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        #else
            CommandLine.arguments[0]
        #endif
    }
}
