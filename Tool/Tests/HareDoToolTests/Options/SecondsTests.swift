// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import HareDoTool

@Suite("A time span on the command line")
struct SecondsTests {
    @Test(
        "is seconds, fractions allowed",
        arguments: [("1", 1000), ("0.25", 250), (".5", 500), ("4000000", 4_000_000_000)])
    func read(text: String, milliseconds: Int) throws {
        let seconds = try #require(Seconds(argument: text))
        #expect(seconds.duration == .milliseconds(milliseconds))
    }

    @Test(
        "is above 0 and bounded",
        arguments: ["", "0", "0.0", "-1", "x", "1s", "1e3", "0x1", "nan", "inf", "4000001", "."])
    func refused(text: String) {
        #expect(Seconds(argument: text) == nil)
    }

    @Test("reads as it is written", arguments: ["1", "0.5"])
    func description(text: String) throws {
        let seconds = try #require(Seconds(argument: text))
        #expect(seconds.description == text)
    }
}
