// SPDX-License-Identifier: Apache-2.0
import HostileSupport

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

// The attacks of HostileTests, which run much faster here than in a debug build. Run by Scripts/hostile.sh.

/// Standard error's own variable is one that Swift does not let be used.
func report(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = write(2, bytes, bytes.count)
}

// Not on the main actor, whose thread waits below.
Task.detached {
    var problems: [String] = []
    do {
        var run = try HostileRun()
        // Threads of one process would share the counters that the build has for libFuzzer, and wait for one another.
        run.workers = 1
        for attack in Attack.allCases { problems += try await run.run(attack).problems }
    } catch {
        problems.append("\(error)")
    }
    for problem in problems { report("problem: \(problem)") }
    exit(problems.isEmpty ? 0 : 1)
}
while true { pause() }
