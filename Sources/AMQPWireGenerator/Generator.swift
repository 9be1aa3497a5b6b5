// SPDX-License-Identifier: Apache-2.0
import Foundation

/// `swift run AMQPWireGenerator [FOLDER]`: writes the generated sources of AMQPWire.
@main
enum Generator {
    static func main() throws {
        let folder = CommandLine.arguments.dropFirst().first ?? "Sources/AMQPWire/Generated"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for (name, text) in SourceWriter.files().sorted(by: { $0.key < $1.key }) {
            try text.write(toFile: folder + "/" + name, atomically: true, encoding: .utf8)
            print("wrote \(folder)/\(name)")
        }
    }
}
