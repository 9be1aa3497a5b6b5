// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo
import HareDoDaemon

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

// What the commands that try and write settings have in common.

extension Config {
    /// Where a password comes from that others must not see on the command line.
    static var password: String? {
        let environment = ProcessInfo.processInfo.environment
        return environment["HAREDO_PASSWORD"] ?? environment["PRBPASSWORD"]
    }

    /// Tries something, and prints `succeeded` or `failed: REASON`.
    ///
    /// - Throws: exit status 1 if it failed.
    static func tell(_ progress: String, _ attempt: @escaping @Sendable () async throws -> Void) async throws {
        let paint = Paint(.output)
        do {
            try await Progress.during(progress, attempt)
        } catch {
            try StandardStreams.print(paint(.red, "failed:") + " " + (ToolFailure(error)?.message ?? "\(error)"))
            throw ExitCode(1)
        }
        try StandardStreams.print(paint(.green, "succeeded"))
    }
}

extension Config.File {
    /// Changes the file's text, and writes it if a daemon would start with it.
    func edit(_ change: (inout ConfigurationEdit) throws -> Void) throws {
        let path = self.path
        guard FileManager.default.fileExists(atPath: path) else {
            throw ToolFailure("there is no file '\(path)'. `haredo config init` writes one", .noConfiguration)
        }
        guard let data = FileManager.default.contents(atPath: path), let text = String(validating: data, as: UTF8.self)
        else { throw ToolFailure("'\(path)' cannot be read") }
        var edit = ConfigurationEdit(text, file: path)
        try change(&edit)
        _ = try DaemonConfiguration(text: edit.text, file: path, environment: ProcessInfo.processInfo.environment)
        try NewFile.replace(path, with: edit.text)
        try StandardStreams.print("written: \(path)")
    }
}
