// SPDX-License-Identifier: Apache-2.0
import HareDo
import Testing

@testable import HareDoTool

@Suite("What haredo call prints")
struct PrintedReplyTests {
    @Test(
        "A newline follows text that has none",
        arguments: [
            ([], []), ([0x61], [0x61, 0x0a]), ([0x61, 0x0a], [0x61, 0x0a]), ([0xff], [0xff]),
        ] as [([UInt8], [UInt8])])
    func newline(body: [UInt8], printed: [UInt8]) {
        #expect(Call.printed(Bytes(body), raw: false) == printed)
        #expect(Call.printed(Bytes(body), raw: true) == body)
    }
}
