// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension DaemonConfiguration {
    /// Where it is if nobody says otherwise.
    public static let standardPath = "/etc/haredo/haredo.conf"

    /// The file that is meant: the one given, or else that of `HAREDO_CONFIG`, or else ``standardPath``.
    public static func path(_ given: String?, environment: [String: String]) -> String {
        if let given { return given }
        if let path = environment["HAREDO_CONFIG"], !path.isEmpty { return path }
        return self.standardPath
    }

    /// Reads a file.
    ///
    /// - Throws: everything that is wrong, or that there is none.
    public init(
        path: String, environment: [String: String]
    ) throws(ConfigurationProblems) {
        func problem(_ message: String) -> ConfigurationProblems {
            ConfigurationProblems(all: [ConfigurationProblem(file: path, line: 0, column: 0, message: message)])
        }
        let manager = FileManager.default
        guard manager.fileExists(atPath: path) else {
            var missing = problem("there is no such configuration file. `haredo config init` writes one")
            missing.isMissingFile = true
            throw missing
        }
        guard let data = manager.contents(atPath: path) else { throw problem("the file cannot be read") }
        guard let text = String(validating: data, as: UTF8.self) else { throw problem("the file is not text in UTF-8") }
        let permissions = (try? manager.attributesOfItem(atPath: path))?[.posixPermissions] as? Int ?? 0
        try self.init(text: text, file: path, environment: environment, isReadableByAll: permissions & 0o004 != 0)
    }
}
