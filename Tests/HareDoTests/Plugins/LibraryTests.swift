// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import HareDo

@Suite("Names, places and files of plugins")
struct LibraryTests {
    @Test(
        "Names",
        arguments: [
            ("echo", ["echo"]), ("vaquero/service/config", ["vaquero", "service", "config"]),
            ("a-b_c/D9", ["a-b_c", "D9"]),
        ])
    func names(text: String, parts: [String]) throws {
        let name = try PluginName(text)
        #expect(name.folders + [name.library] == parts)
        #expect(PluginName.library(of: name.file) == parts.last)
        let path = PluginSearchPath(folders: ["/opt/share", "/x/"], prefix: "haredo/plugins")
        let expected = (["haredo/plugins"] + name.folders + [name.file]).joined(separator: "/")
        #expect(path.places(of: name).map(\.path) == ["/opt/share/" + expected, "/x/" + expected])
        #expect(PluginSearchPath(folders: ["/x"], prefix: "").places(of: name).first?.folders.first == "/x")
    }

    @Test(
        "Names that could lead elsewhere are none",
        arguments: [
            "", "/", "../echo", "a/../b", "/etc/echo", "a//b", "echo/", ".", "echo.so", "e cho", "é", "a\u{0}b", "a\nb",
            String(repeating: "x", count: 65), Array(repeating: "x", count: 200).joined(separator: "/"),
        ])
    func notNames(text: String) {
        let refusal = #expect(throws: PluginRefusal.self) { try PluginName(text) }
        #expect(refusal?.reason == .invalidName)
    }

    // MARK: - Files

    private typealias Facts = LibraryFile.Facts

    private static func withFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "haredo-library-\(UUID())").path
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    private static func reason(_ path: String, _ folders: [String]) -> PluginRefusal.Reason? {
        do throws(PluginRefusal) {
            try LibraryFile.check(path, folders: folders)
            return nil
        } catch {
            return error.reason
        }
    }

    @Test("What the file system says against a library", .enabled(if: isLinux))
    func files() throws {
        try Self.withFolder { folder in
            let manager = FileManager.default
            let file = folder + "/libx.so"
            let program = try manager.destinationOfSymbolicLink(atPath: "/proc/self/exe")
            // A program that may lie anywhere in memory looks as a library does.
            try manager.copyItem(atPath: program, toPath: file)
            try manager.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file)
            #expect(Self.reason(file, [folder]) == nil)
            try manager.setAttributes([.posixPermissions: 0o646], ofItemAtPath: file)
            #expect(Self.reason(file, [folder]) == .writableFile)
            try manager.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file)
            try manager.setAttributes([.posixPermissions: 0o707], ofItemAtPath: folder)
            #expect(Self.reason(file, [folder]) == .writableFolder)
            // Also one further up, but not `/tmp`, where only owners remove.
            try manager.createDirectory(atPath: folder + "/below", withIntermediateDirectories: false)
            #expect(Self.reason(folder + "/below/liby.so", [folder, folder + "/below"]) == .writableFolder)
            try manager.setAttributes([.posixPermissions: 0o1707], ofItemAtPath: folder)
            #expect(Self.reason(file, [folder]) == nil)
            try manager.setAttributes([.posixPermissions: 0o700], ofItemAtPath: folder)
            #expect(Self.reason(folder + "/below", [folder]) == .notAFile)
            #expect(Self.reason(folder + "/liby.so", [folder]) == .notReadable)
            try manager.createSymbolicLink(atPath: folder + "/liby.so", withDestinationPath: file)
            #expect(Self.reason(folder + "/liby.so", [folder]) == .symbolicLink)
            try manager.createSymbolicLink(atPath: folder + "/link", withDestinationPath: folder + "/below")
            #expect(Self.reason(folder + "/link/liby.so", [folder, folder + "/link"]) == .symbolicLink)
            try Data("#!/bin/sh\n".utf8).write(to: URL(filePath: folder + "/libz.so"))
            #expect(Self.reason(folder + "/libz.so", [folder]) == .notALibrary)
        }
    }

    @Test("Whose a file is")
    func owners() throws {
        var facts = Facts(kind: .file, owner: 0, isOpenToAll: false, isSticky: false, size: 1)
        try LibraryFile.check(file: facts, "/x", user: 1000)
        facts.owner = 1000
        try LibraryFile.check(file: facts, "/x", user: 1000)
        facts.owner = 1001
        let refusal = #expect(throws: PluginRefusal.self) { try LibraryFile.check(file: facts, "/x", user: 1000) }
        #expect(refusal?.reason == .foreignOwner)
        #expect(refusal?.text.contains("1001") == true)
        facts.kind = .folder
        #expect(throws: PluginRefusal.self) { try LibraryFile.check(folder: facts, "/x", user: 1000) }
    }

    // MARK: - The format

    /// The head of a library with two segments, of which the last one ends at 5000.
    private static let head: [UInt8] = {
        func bytes(_ number: Int, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
        }
        func segment(_ kind: Int, start: Int, length: Int) -> [UInt8] {
            bytes(kind, 4) + bytes(5, 4) + bytes(start, 8) + bytes(0, 16) + bytes(length, 8) + bytes(0, 16)
        }
        let identification: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + bytes(0, 9)
        let header =
            bytes(3, 2) + bytes(LibraryFormat.machine, 2) + bytes(1, 4) + bytes(0, 8) + bytes(64, 8) + bytes(0, 8)
            + bytes(0, 4) + bytes(64, 2) + bytes(56, 2) + bytes(2, 2) + bytes(0, 6)
        return identification + header + segment(1, start: 0, length: 4096) + segment(1, start: 4096, length: 904)
    }()

    @Test("A library that is whole")
    func whole() {
        #expect(Self.head.count == 176)
        #expect(LibraryFormat.problem(Self.head, size: 5000) == nil)
        #expect(LibraryFormat.problem(Self.head, size: 4999)?.0 == .truncated)
    }

    @Test("Cut anywhere it is refused")
    func cut() {
        for count in 0..<Self.head.count {
            let reason = LibraryFormat.problem(Array(Self.head.prefix(count)), size: UInt64(count))?.0
            #expect(reason == (count < 4 ? .notALibrary : .truncated), "\(count)")
        }
    }

    @Test(
        "What it is not",
        arguments: [
            (4, 1, PluginRefusal.Reason.otherMachine), (5, 2, .otherMachine), (18, 7, .otherMachine),
            (16, 2, .notALibrary),
            (16, 1, .notALibrary), (54, 1, .truncated), (56, 0, .truncated), (56, 255, .truncated),
            (39, 0xff, .truncated), (47, 0xff, .truncated), (41, 0x20, .truncated),
            (64 + 15, 0xff, .truncated), (64 + 39, 0xff, .truncated), (0, 0, .notALibrary),
        ])
    func damaged(offset: Int, byte: UInt8, expected: PluginRefusal.Reason) {
        var head = Self.head
        head[offset] = byte
        #expect(LibraryFormat.problem(head, size: 5000)?.0 == expected)
    }

    @Test("No byte of a head makes it trap")
    func everyByte() {
        for offset in Self.head.indices {
            for byte: UInt8 in [0, 1, 0x7f, 0x80, 0xff] {
                var head = Self.head
                head[offset] = byte
                _ = LibraryFormat.problem(head, size: 5000)
            }
        }
    }
}

private let isLinux: Bool = {
    #if os(Linux)
        true
    #else
        false
    #endif
}()
