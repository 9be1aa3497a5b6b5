// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import HareDoTool

@Suite("Colours")
struct PaintTests {
    @Test("Only on a terminal, and not for people who want none")
    func colours() {
        #expect(Paint(isTerminal: true, environment: [:])(.red, "x") == "\u{1B}[31mx\u{1B}[0m")
        #expect(Paint(isTerminal: true, environment: ["NO_COLOR": ""])(.red, "x") != "x")
        #expect(Paint(isTerminal: true, environment: ["NO_COLOR": "1"])(.red, "x") == "x")
        #expect(Paint(isTerminal: true, environment: ["TERM": "dumb"])(.red, "x") == "x")
        #expect(Paint(isTerminal: false, environment: [:])(.red, "x") == "x")
    }
}
