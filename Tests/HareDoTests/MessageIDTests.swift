// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import HareDo

@Suite("Message ids")
struct MessageIDTests {
    @Test func `SipHash-2-4 gives the values of its authors' reference`() {
        let hash = SipHash(key: (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908))
        #expect(hash() == 0x726f_db47_dd0e_0e31)
        #expect(hash(0x0706_0504_0302_0100) == 0x93f5_f579_9a93_2462)
        #expect(hash(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908) == 0x3f2a_cc7f_57c2_9bdb)
    }

    @Test func `ids are different, and say what made them`() {
        var ids = MessageIDs()
        let call = ids.next(.call)
        let send = ids.next(.send)
        #expect(call.id != send.id)
        #expect(ids.origin(of: call.id.rawValue)?.kind == .call)
        #expect(ids.origin(of: send.id.rawValue)?.kind == .send)
        #expect(ids.origin(of: call.id.rawValue)?.number == call.number)
    }

    @Test func `ids of others, changed ones and ones not made yet are not ours`() {
        var ids = MessageIDs(key: (1, 2))
        var others = MessageIDs(key: (1, 3))
        let id = ids.next(.call).id.rawValue
        #expect(ids.origin(of: others.next(.call).id.rawValue) == nil)
        #expect(ids.origin(of: "s" + id.dropFirst()) == nil)
        for text in [
            "", "c", "hello", String(repeating: "c", count: 33), id + "0", String(id.dropLast()), id.uppercased(),
        ] {
            #expect(ids.origin(of: text) == nil, "\(text)")
        }
        var ahead = ids
        #expect(ids.origin(of: ahead.next(.call).id.rawValue) == nil)
    }

    @Test func `a counter does not tell the next id`() {
        var ids = MessageIDs()
        let hashes = (0..<1000).map { _ in ids.next(.call).id.rawValue.suffix(16) }
        #expect(Set(hashes).count == 1000)
    }
}
