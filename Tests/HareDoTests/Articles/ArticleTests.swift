// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@Suite("The articles of HareDo")
struct ArticleTests {
    private static let here = URL(filePath: #filePath).deletingLastPathComponent()
    private static let articles = Self.here.appending(path: "../../../Sources/HareDo/HareDo.docc").standardized

    /// Without what a formatter decides.
    private static func condensed(_ code: some StringProtocol) -> String { String(code.filter { !$0.isWhitespace }) }

    @Test("show code that compiles, all of it")
    func code() throws {
        let compiled = Self.condensed(
            try String(contentsOf: Self.here.appending(path: "ArticleCode.swift"), encoding: .utf8))
        let files = try FileManager.default.contentsOfDirectory(at: Self.articles, includingPropertiesForKeys: nil)
            .filter { $0.pathExtension == "md" }
        #expect(files.count == 10)
        var count = 0
        for file in files {
            let text = try String(contentsOf: file, encoding: .utf8)
            for block in text.matches(of: /```swift\n([\s\S]*?)```/) {
                count += 1
                let isCompiled = compiled.contains(Self.condensed(block.1))
                #expect(isCompiled, "\(file.lastPathComponent) shows what is not in ArticleCode.swift:\n\(block.1)")
            }
        }
        #expect(count >= 20)
    }
}
