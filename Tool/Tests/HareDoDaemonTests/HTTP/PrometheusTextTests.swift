// SPDX-License-Identifier: Apache-2.0
import HareDo
import Testing

@testable import HareDoDaemon

@Suite("Metrics")
struct PrometheusTextTests {
    private static func statistics(queue: String) -> DaemonStatistics {
        DaemonStatistics(
            version: "1", process: 7, instance: "i", phase: .running, uptime: 1.5, queue: queue, broker: "b",
            isHealthy: true, plugins: [], unserved: 2, expired: 0, parked: 0, refusedCommands: 0)
    }

    @Test("Labels are escaped, whole numbers have no fraction, and what has no sample is left out")
    func text() {
        let lines = PrometheusText(Self.statistics(queue: "a\"b\\c\nd")).text.split(separator: "\n")
        #expect(lines.contains(#"haredo_info{version="1",instance="i",queue="a\"b\\c\nd"} 1"#))
        #expect(lines.contains("haredo_uptime_seconds 1.5"))
        #expect(lines.contains("haredo_unserved_messages_total 2"))
        #expect(lines.contains("# TYPE haredo_unserved_messages_total counter"))
        #expect(!lines.contains { $0.hasPrefix("# TYPE haredo_messages_total") })
    }

    @Test("It is ready if it runs and is healthy")
    func ready() {
        var statistics = Self.statistics(queue: "q")
        #expect(statistics.isReady)
        statistics.phase = .draining
        #expect(!statistics.isReady)
        statistics.phase = .running
        statistics.isHealthy = false
        #expect(!statistics.isReady)
    }
}
