// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A package that builds one plugin.
struct PluginPackage {
    let name: String
    let source: HareDoSource

    init(name: String, source: HareDoSource) throws(ToolFailure) {
        let isName =
            1...64 ~= name.utf8.count && name.utf8.first.map { Self.letters.contains($0) } ?? false
            && name.utf8.allSatisfy { Self.letters.contains($0) || Self.others.contains($0) }
        guard isName else {
            throw ToolFailure(
                "'\(name)' cannot be a plugin's name: 1 to 64 letters, digits, '-' or '_', a letter first")
        }
        self.name = name
        self.source = source
    }

    private static let letters = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
    private static let others = Set("0123456789-_".utf8)

    /// `fortune-teller` is a `FortuneTeller`.
    var type: String {
        self.name.split { $0 == "-" || $0 == "_" }.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }
    /// The module: never that of another package, nor the type in it.
    var module: String { self.type + "Plugin" }

    /// Writes it into a new folder, here.
    ///
    /// - Returns: the folder.
    func write() throws(ToolFailure) -> String {
        let manager = FileManager.default
        guard !manager.fileExists(atPath: self.name) else {
            throw ToolFailure("'\(self.name)' is there already")
        }
        do {
            for (path, text) in self.files {
                let file = self.name + "/" + path
                let folder = String(file[..<(file.lastIndex(of: "/") ?? file.endIndex)])
                try manager.createDirectory(atPath: folder, withIntermediateDirectories: true)
                try Data(text.utf8).write(to: URL(filePath: file))
            }
        } catch {
            throw ToolFailure("cannot write '\(self.name)': \(error)")
        }
        return self.name
    }

    var files: [(path: String, text: String)] {
        [
            ("Package.swift", self.manifest), (".gitignore", ".build/\n"),
            ("Sources/\(self.module)/\(self.type).swift", self.plugin),
            ("Tests/\(self.module)Tests/\(self.type)Tests.swift", self.test),
        ]
    }

    private var manifest: String {
        """
        // swift-tools-version: 6.2
        import PackageDescription

        // The one way to HareDo. Nothing that HareDo depends on itself (swift-log, SwiftNIO, ServiceLifecycle) may be listed
        // here: the program has it, and would not meet the plugin's own copy.
        let hareDo: Target.Dependency = .product(name: "HareDoDynamic", package: "\(self.source.identity)")

        let package = Package(
            name: "\(self.name)",
            platforms: [.macOS(.v15)],
            // Builds lib\(self.name).so.
            products: [.library(name: "\(self.name)", type: .dynamic, targets: ["\(self.module)"])],
            dependencies: [\(self.source.dependency)],
            targets: [
                .target(name: "\(self.module)", dependencies: [hareDo]),
                .testTarget(name: "\(self.module)Tests", dependencies: ["\(self.module)", hareDo]),
            ]
        )

        """
    }

    private var plugin: String {
        """
        public import HareDo

        /// Greets whoever sends a name.
        public struct \(self.type): Plugin {
            public static let uuid = "\(self.name)"
            public static let version: String? = "0.1.0"
            public static let configurationKeys: [String]? = ["greeting"]

            private let greeting: String

            public init(_ context: PluginContext) throws {
                self.greeting = try context.configuration["greeting"].ifPresent?.string ?? "Hello"
            }

            public func process(_ message: Message) async throws -> Reply? {
                guard let name = message.text, !name.isEmpty else { throw ServiceError("no-name", "send a name") }
                return "\\(self.greeting), \\(name)!"
            }
        }

        /// What a program looks for in the library. It has to be public.
        @c(haredo_plugin_main) public func haredoPluginMain() -> UnsafeRawPointer { exportPlugin(\(self.type).self) }

        """
    }

    private var test: String {
        """
        import HareDo
        import HareDoTesting
        import Testing

        import \(self.module)

        @Suite struct \(self.type)Tests {
            @Test func greets() async throws {
                try await withBroker { broker, peer in
                    try await peer.plugins.register(\(self.type).self, configuration: ["greeting": "Good morning"])
                    try await peer.listen(on: "plugins", serving: peer.plugins)
                    let reply = try await peer.call(
                        "plugins", headers: ["uuid": "\(self.name)"], data: "jujifruit", timeout: .seconds(10))
                    #expect(reply?.text == "Good morning, jujifruit!")
                }
            }
        }

        """
    }
}
