// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo
import HareDoDaemon

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Which daemon is meant: by its configuration, and by the file that it holds while it runs.
struct DaemonOptions: ParsableArguments {
    @OptionGroup var file: Config.File

    @Option(
        help: ArgumentHelp(
            "The file that the running daemon holds. Default: haredo.pid in HAREDO_RUNTIME_DIR, or where the system keeps such.",
            valueName: "file"))
    var pidFile: String?

    private var environment: [String: String] { ProcessInfo.processInfo.environment }

    var runtime: RuntimeFolder { RuntimeFolder(environment: self.environment) }
    var pidPath: String { self.pidFile ?? self.runtime.pidFile }

    func requireRunning() throws(ToolFailure) -> PidFile.Owner {
        guard let owner = self.running else { throw ToolFailure("the daemon is not running", .notRunning) }
        return owner
    }

    var running: PidFile.Owner? {
        if case .running(let owner) = PidFile.state(self.pidPath) { owner } else { nil }
    }

    /// Asks the running daemon.
    func ask(
        _ command: String, _ arguments: [String: ConfigurationValue] = [:], of owner: PidFile.Owner,
        within timeout: Duration = Self.patience
    ) async throws -> ConfigurationValue {
        let configuration = try self.file.read()
        guard let key = configuration.key ?? self.runtime.existingKey else {
            throw ToolFailure(
                "there is no key to sign commands with: neither in the configuration nor in \(self.runtime.keyFile)")
        }
        do {
            return try await ControlClient(instance: owner.instance, key: key).call(
                command, arguments, through: .url(configuration.broker.connectionURL), within: timeout)
        } catch {
            switch error {
            case .failed(let reason): throw ToolFailure(reason)
            case .refused(let reason): throw ToolFailure(reason, .refused)
            case .noAnswer(let reason):
                throw ToolFailure("the daemon (process \(owner.process)) does not answer: \(reason)", .noAnswer)
            }
        }
    }

    /// How long a running daemon may take to answer.
    static let patience = Duration.seconds(5)

    /// Waits until the daemon is gone.
    func waitForEnd(within limit: Duration) async throws -> Bool {
        let end = ContinuousClock.now + limit
        // A lock cannot be waited for with a deadline.
        while PidFile.state(self.pidPath) != .notRunning {
            guard .now < end else { return false }
            try await Task.sleep(for: .milliseconds(20))
        }
        return true
    }
}
