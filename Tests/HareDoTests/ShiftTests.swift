// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import HareDo

/// Who is cancelled at a deadline, and who is not.
@Suite("A worker's shift", .timeLimit(.minutes(1)))
struct ShiftTests {
    /// A task that ends when it is cancelled, or when the test says so.
    private static func task(_ gate: AsyncGate) -> Task<Void, Never> { Task { await gate.wait() } }

    enum Step {
        case taskKnown, turnBegins, deadlinePasses, turnEnds
    }

    /// In every order that can be: the task is made known at any time, a turn ends after it began, and its deadline passes
    /// at any time after that.
    @Test("cancels the handler that runs and no other, whatever comes first", arguments: [0, 1, 2, 3])
    func orders(position: Int) {
        for passesBeforeTheEnd in [true, false] {
            var steps: [Step] =
                [.turnBegins] + (passesBeforeTheEnd ? [.deadlinePasses, .turnEnds] : [.turnEnds, .deadlinePasses])
            steps.insert(.taskKnown, at: position)
            let shift = Shift()
            let gate = AsyncGate()
            let task = Self.task(gate)
            var turn: UInt64 = 0
            for step in steps {
                switch step {
                case .taskKnown: shift.began(task)
                case .turnBegins: turn = shift.turnBegan()
                case .deadlinePasses: shift.cancel(turn)
                case .turnEnds: #expect(shift.turnEnded() == passesBeforeTheEnd)
                }
            }
            #expect(shift.wasCancelled == passesBeforeTheEnd, "\(steps)")
            #expect(task.isCancelled == passesBeforeTheEnd, "\(steps)")
            gate.open()
        }
    }

    @Test("does not cancel the next handler for the one before it")
    func nextTurn() {
        let shift = Shift()
        let gate = AsyncGate()
        let task = Self.task(gate)
        shift.began(task)
        let first = shift.turnBegan()
        #expect(!shift.turnEnded())
        _ = shift.turnBegan()
        shift.cancel(first)
        #expect(!shift.wasCancelled && !task.isCancelled)
        #expect(!shift.turnEnded())
        gate.open()
    }
}
