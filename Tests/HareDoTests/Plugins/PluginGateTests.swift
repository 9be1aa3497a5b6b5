// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import HareDo

@Suite("The gate of a plugin")
struct PluginGateTests {
    /// Every state a gate can be in, as far as its answers differ.
    enum State: CaseIterable {
        case empty, busy, full, crowded, closedEmpty, closedBusy

        /// With limits of two inside and one waiting.
        func make() -> (gate: PluginGate<Int>, closer: Int?) {
            var gate = PluginGate<Int>(PluginLimits(inFlight: 2, waiting: 1))
            let (inside, waiting) =
                switch self {
                case .empty, .closedEmpty: (0, 0)
                case .busy, .closedBusy: (1, 0)
                case .full: (2, 0)
                case .crowded: (2, 1)
                }
            for _ in 0..<inside { _ = gate.enter(isStale: { _ in false }) { -1 } }
            for _ in 0..<waiting { _ = gate.enter(isStale: { _ in false }) { 1 } }
            guard self == .closedEmpty || self == .closedBusy else { return (gate, nil) }
            #expect(gate.close().isEmpty)
            let closer = gate.waitForLast { 9 }
            return (gate, closer)
        }
    }

    @Test("Entering", arguments: State.allCases)
    func entering(state: State) {
        var (gate, _) = state.make()
        let before = gate.inFlight
        switch (state, gate.enter(isStale: { _ in false }) { 7 }) {
        case (.empty, .entered), (.busy, .entered): #expect(gate.inFlight == before + 1)
        case (.full, .wait(7)), (.crowded, .refused), (.closedEmpty, .closed), (.closedBusy, .closed):
            #expect(gate.inFlight == before)
        case (_, let entry): Issue.record("\(state): \(entry)")
        }
    }

    @Test("Whoever has given up waiting makes room")
    func stale() {
        var (gate, _) = State.crowded.make()
        guard case .wait(7) = gate.enter(isStale: { $0 == 1 }, { 7 }) else {
            Issue.record("refused")
            return
        }
        var admitted: [Int] = []
        #expect(
            gate.leave {
                admitted.append($0)
                return true
            } == [])
        #expect(admitted == [7])
        #expect(gate.inFlight == 2)
    }

    @Test("Leaving", arguments: State.allCases)
    func leaving(state: State) {
        var (gate, closer) = state.make()
        let before = gate.inFlight
        guard before > 0 else {
            #expect(closer == nil)
            return
        }
        var admitted: [Int] = []
        let closers = gate.leave {
            admitted.append($0)
            return true
        }
        #expect(admitted == (state == .crowded ? [1] : []))
        #expect(gate.inFlight == (state == .crowded ? before : before - 1))
        #expect(closers == (state == .closedBusy ? [9] : []))
    }

    @Test("Who does not come when it is its turn is passed over")
    func passedOver() {
        var gate = PluginGate<Int>(PluginLimits(inFlight: 1, waiting: 3))
        for waiter in 0..<4 { _ = gate.enter(isStale: { _ in false }) { waiter } }
        #expect(gate.leave { $0 == 3 } == [])
        #expect(gate.inFlight == 1)
        #expect(gate.leave { _ in true } == [])
        #expect(gate.inFlight == 0)
    }

    @Test("Closing", arguments: State.allCases)
    func closing(state: State) {
        var (gate, _) = state.make()
        #expect(gate.close() == (state == .crowded ? [1] : []))
        // Each waiter is told once.
        #expect(gate.close() == [])
        guard case .closed = gate.enter(isStale: { _ in false }, { 7 }) else {
            Issue.record("it was not closed")
            return
        }
        #expect((gate.waitForLast { 8 } == nil) == (gate.inFlight == 0))
    }
}
