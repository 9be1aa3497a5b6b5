// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Testing

/// Each in a process of its own as well (`haredo plugin check`): one that is ended by a library says so by its status.
@Suite("What is not loaded as a plugin, and why", .enabled(if: isLinux), .timeLimit(.minutes(1)))
struct RefusalTests {
    /// Loads in this process and in one of its own.
    private static func expect(
        _ reason: PluginRefusal.Reason, _ folder: PluginFolder, _ name: String, mentions: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let error = #expect(throws: HareDoError.self, sourceLocation: sourceLocation) {
            try PluginLoader(searchPath: folder.searchPath).load(name)
        }
        #expect(error?.code == .pluginRefused, sourceLocation: sourceLocation)
        #expect(error?.refusal?.reason == reason, "\(error?.message ?? "")", sourceLocation: sourceLocation)
        #expect(
            mentions.isEmpty || error?.message.contains(mentions) == true, "\(error?.message ?? "")",
            sourceLocation: sourceLocation)
        guard reason != .notFound, reason != .invalidName else { return }
        let check = try await haredo("plugin", "check", folder.path(name), "--json")
        #expect(check.status == 1, sourceLocation: sourceLocation)
        #expect(
            check.text.contains("\"reason\":\"\(reason.rawValue)\""), "\(check.text)", sourceLocation: sourceLocation)
    }

    @Test("Built against another version, or with another compiler, or beside other dependencies")
    func otherBuilds() async throws {
        try await PluginFolder.with { folder in
            typealias Descriptor = PluginFolder.Descriptor
            try folder.write(Descriptor(abi: 0).library(), as: "abi")
            try await Self.expect(
                .otherABI, folder, "abi", mentions: "ABI number 0, and this program has \(PluginLoader.abi)")
            try folder.write(Descriptor(compiler: "Clang 9").library(), as: "compiler")
            try await Self.expect(.otherCompiler, folder, "compiler", mentions: "Clang 9")
            try folder.write(Descriptor(layouts: 1).library(), as: "layouts")
            try await Self.expect(.otherLayouts, folder, "layouts", mentions: "swift package update")
            try folder.write(Descriptor(magic: 1).library(), as: "magic")
            try await Self.expect(.notADescriptor, folder, "magic")
            // All of it right, but there is no type.
            try folder.write(Descriptor().library(), as: "typeless")
            try await Self.expect(.otherKind, folder, "typeless")
        }
    }

    @Test("It brings a HareDo of its own")
    func copy() async throws {
        try await PluginFolder.with { folder in
            try folder.install("copy", as: "copy")
            try await Self.expect(.carriedCopy, folder, "copy", mentions: "HareDoDynamic")
        }
    }

    @Test("Its function is hidden, or a symbol it needs is nowhere")
    func symbols() async throws {
        try await PluginFolder.with { folder in
            try folder.install("hidden", as: "hidden")
            try await Self.expect(.noEntryPoint, folder, "hidden", mentions: "public")
            try folder.install("undefined", as: "undefined")
            try await Self.expect(.undefinedSymbol, folder, "undefined", mentions: "haredo_fixture_that_is_nowhere")
            try folder.install("module", as: "module")
            let error = #expect(throws: HareDoError.self) {
                try PluginLoader(searchPath: folder.searchPath).load("module")
            }
            #expect(error?.refusal?.reason == .otherKind)
        }
    }

    @Test("It is no library, or only a part of one")
    func files() async throws {
        try await PluginFolder.with { folder in
            try folder.write(Data("#!/bin/sh\necho no\n".utf8), as: "text")
            try await Self.expect(.notALibrary, folder, "text")
            try folder.write(Data(), as: "nothing")
            try await Self.expect(.notALibrary, folder, "nothing")
            let whole = try Data(contentsOf: PluginFolder.fixture("border"))
            for (index, size) in [40, 100, 1000, 5000, whole.count / 2].enumerated() {
                try folder.write(whole.prefix(size), as: "cut\(index)")
                try await Self.expect(.truncated, folder, "cut\(index)")
            }
            try FileManager.default.createDirectory(atPath: folder.path("folder"), withIntermediateDirectories: false)
            try await Self.expect(.notAFile, folder, "folder")
            try FileManager.default.createSymbolicLink(
                atPath: folder.path("link"), withDestinationPath: PluginFolder.fixture("border").path)
            try await Self.expect(.symbolicLink, folder, "link")
            try await Self.expect(.notFound, folder, "missing", mentions: folder.path("missing"))
            try await Self.expect(.invalidName, folder, "../../etc/passwd")
        }
    }

    @Test("Somebody else could have put it there")
    func permissions() async throws {
        try await PluginFolder.with { folder in
            let manager = FileManager.default
            let path = try folder.install("border", as: "border")
            try manager.setAttributes([.posixPermissions: 0o666], ofItemAtPath: path)
            try await Self.expect(.writableFile, folder, "border")
            try manager.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
            let holder = URL(filePath: path).deletingLastPathComponent().path
            try manager.setAttributes([.posixPermissions: 0o777], ofItemAtPath: holder)
            try await Self.expect(.writableFolder, folder, "border")
            try manager.setAttributes([.posixPermissions: 0o755], ofItemAtPath: holder)
            _ = try PluginLoader(searchPath: folder.searchPath).load("border")
        }
    }

    private static let isRoot: Bool = {
        guard geteuid() != 0 else { return true }
        FileHandle.standardError.write(
            Data("!!! The test of libraries that belong to another user needs root: SKIPPED !!!\n".utf8))
        return false
    }()

    @Test("It belongs to another user", .enabled(if: isRoot, "needs root"))
    func foreignOwner() async throws {
        try await PluginFolder.with { folder in
            let path = try folder.install("border", as: "border")
            #expect(chown(path, 12345, 12345) == 0)
            try await Self.expect(.foreignOwner, folder, "border", mentions: "12345")
        }
    }
}
