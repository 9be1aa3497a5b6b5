// SPDX-License-Identifier: Apache-2.0
import HostileSupport
import Testing

/// What runs with a seed: here some of it, unoptimised. The rest is run by `Scripts/hostile.sh`, see Docs/hostile-input.md.
@Suite("Hostile bytes, from a seed", .serialized)
struct SeededTests {
    @Test("Nothing traps, hangs, grows, or comes out otherwise", arguments: Attack.allCases)
    func harmless(attack: Attack) async throws {
        let report = try await HostileRun().run(attack)
        for problem in report.problems { Issue.record("\(problem)") }
    }
}
