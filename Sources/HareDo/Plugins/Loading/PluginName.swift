// SPDX-License-Identifier: Apache-2.0

/// The name that a plugin is loaded by, such as `echo`, or with a path, `vaquero/service/config`: its last part names the
/// library, the others are folders.
struct PluginName: Hashable, Sendable {
    let text: String
    let folders: [String]
    let library: String

    /// - Throws: `invalidName`. No part can leave its folder: letters, digits, `-` and `_` only.
    init(_ text: String) throws(PluginRefusal) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard text.utf8.count <= 255, parts.allSatisfy(Self.isPart), let library = parts.last else {
            throw PluginRefusal(
                .invalidName, WireHeaders.cut(text, to: 255),
                "is not the name of a plugin: parts of 1 to 64 letters, digits, '-' or '_', with '/' between them")
        }
        self.text = text
        self.folders = Array(parts.dropLast())
        self.library = library
    }

    private static func isPart(_ part: String) -> Bool {
        1...64 ~= part.utf8.count
            && part.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    /// The file's name.
    var file: String { Self.start + self.library + Self.end }

    /// The library that a file holds, if it is named as one.
    static func library(of file: String) -> String? {
        guard file.hasPrefix(Self.start), file.hasSuffix(Self.end) else { return nil }
        return String(file.dropFirst(Self.start.count).dropLast(Self.end.count))
    }

    private static let start = "lib"
    #if os(macOS)
        private static let end = ".dylib"
    #else
        private static let end = ".so"
    #endif
}
