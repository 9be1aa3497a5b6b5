// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import HareDo

@Suite("The inbox, alone")
struct InboxTests {
    private typealias Box = Inbox<String, Int>

    private func kept(_ outcome: Box.OnArrival) -> Int? {
        guard case .kept(let dropped) = outcome else { return nil }
        return dropped
    }

    private func delivered(_ outcome: Box.OnArrival) -> [String]? {
        guard case .deliver(let waiter, let item) = outcome else { return nil }
        return ["\(waiter)", item]
    }

    @Test func `messages are taken oldest first`() {
        var inbox = Box(maximumCount: 10, maximumBytes: 1000)
        for item in ["a", "b", "c"] { #expect(self.kept(inbox.arrived(item, id: nil, bytes: 1)) == 0) }
        #expect(
            [inbox.takeOldest(), inbox.takeOldest(), inbox.takeOldest(), inbox.takeOldest()] == ["a", "b", "c", nil])
        #expect(inbox.count == 0 && inbox.bytes == 0)
    }

    @Test func `a reply is taken by its id, and the others keep their order`() {
        var inbox = Box(maximumCount: 10, maximumBytes: 1000)
        for item in ["1", "2", "3"] { _ = inbox.arrived(item, id: "id" + item, bytes: 1) }
        _ = inbox.arrived("2 again", id: "id2", bytes: 1)
        #expect(inbox.take(id: "id2") == "2")
        #expect(inbox.take(id: "id2") == "2 again")
        #expect(inbox.take(id: "id2") == nil)
        #expect([inbox.takeOldest(), inbox.takeOldest(), inbox.takeOldest()] == ["1", "3", nil])
        #expect(inbox.take(id: "id1") == nil)
    }

    @Test func `whoever waits for a reply comes before whoever takes anything`() {
        var inbox = Box(maximumCount: 10, maximumBytes: 1000)
        inbox.wait(1, token: 1, id: nil)
        inbox.wait(2, token: 2, id: "x")
        inbox.wait(3, token: 3, id: "x")
        #expect(self.delivered(inbox.arrived("first", id: "x", bytes: 1)) == ["2", "first"])
        #expect(self.delivered(inbox.arrived("second", id: "x", bytes: 1)) == ["3", "second"])
        #expect(self.delivered(inbox.arrived("third", id: "x", bytes: 1)) == ["1", "third"])
        #expect(self.kept(inbox.arrived("fourth", id: "x", bytes: 1)) == 0)
    }

    @Test func `whoever gave up is not served`() {
        var inbox = Box(maximumCount: 10, maximumBytes: 1000)
        inbox.wait(1, token: 1, id: nil)
        inbox.wait(2, token: 2, id: "x")
        inbox.abandon(token: 1, id: nil)
        inbox.abandon(token: 2, id: "x")
        #expect(self.kept(inbox.arrived("x", id: "x", bytes: 1)) == 0)
        inbox.wait(3, token: 3, id: nil)
        inbox.wait(4, token: 4, id: "y")
        #expect(Set(inbox.removeWaiters()) == [3, 4])
        #expect(inbox.removeWaiters().isEmpty)
    }

    @Test func `when it is full the oldest message is dropped`() {
        var inbox = Box(maximumCount: 3, maximumBytes: 100)
        for item in ["1", "2", "3"] { _ = inbox.arrived(item, id: item, bytes: 10) }
        #expect(self.kept(inbox.arrived("4", id: nil, bytes: 10)) == 1)
        #expect(inbox.take(id: "1") == nil)
        #expect(inbox.count == 3 && inbox.bytes == 30)
        // By bytes as well; the last one stays, however large.
        #expect(self.kept(inbox.arrived("large", id: nil, bytes: 500)) == 3)
        #expect(inbox.takeOldest() == "large")
        #expect(inbox.count == 0 && inbox.bytes == 0)
    }

    @Test func `gaps behind a message that nobody takes do not pile up, and ids keep working`() {
        var inbox = Box(maximumCount: 10_000, maximumBytes: .max)
        _ = inbox.arrived("never taken", id: "never", bytes: 1)
        for i in 0..<100_000 {
            _ = inbox.arrived("\(i)", id: "id\(i)", bytes: 1)
            #expect(inbox.take(id: "id\(i)") == "\(i)")
        }
        #expect(inbox.count == 1)
        #expect(
            Mirror(reflecting: inbox).children.first { $0.label == "entries" }.map { "\($0.value)".count < 10_000 }
                == true)
        #expect(inbox.take(id: "never") == "never taken")
    }

    @Test func `every waiter is served or removed exactly once, and every message taken or dropped once`() {
        var random = SeededGenerator(seed: 0x5eed)
        var inbox = Box(maximumCount: 20, maximumBytes: 200)
        var waiting: [Int: String?] = [:]
        var present: Set<String> = []
        var next = 0
        for _ in 0..<20_000 {
            next += 1
            let id: String? = random.next() % 2 == 0 ? nil : "id\(random.next() % 8)"
            switch random.next() % 4 {
            case 0:
                switch inbox.arrived("m\(next)", id: id, bytes: Int(random.next() % 30)) {
                case .deliver(let waiter, _): #expect(waiting.removeValue(forKey: waiter) != nil)
                case .kept: present.insert("m\(next)")
                }
            case 1:
                let item = id.map { inbox.take(id: $0) } ?? inbox.takeOldest()
                if let item { #expect(present.remove(item) != nil) }
            case 2:
                inbox.wait(next, token: UInt64(next), id: id)
                waiting[next] = .some(id)
            default:
                if let (token, id) = waiting.first {
                    inbox.abandon(token: UInt64(token), id: id)
                    waiting[token] = nil
                }
            }
        }
        #expect(Set(inbox.removeWaiters()) == Set(waiting.keys))
        #expect(inbox.count <= 20)
        while let item = inbox.takeOldest() { #expect(present.remove(item) != nil) }
        #expect(inbox.count == 0 && inbox.bytes == 0)
    }
}
