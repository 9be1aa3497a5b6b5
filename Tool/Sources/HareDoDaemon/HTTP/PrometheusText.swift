// SPDX-License-Identifier: Apache-2.0
import HareDo

/// Statistics as Prometheus reads them: the text format, version 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/).
struct PrometheusText {
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private enum Kind: String {
        case counter, gauge
    }

    private(set) var text = ""

    init(_ statistics: DaemonStatistics) {
        self.add(
            "haredo_info", .gauge, "Which daemon this is.",
            [
                (
                    [
                        ("version", statistics.version), ("instance", statistics.instance),
                        ("queue", statistics.queue),
                    ], 1
                )
            ])
        self.add("haredo_ready", .gauge, "1 if it takes messages.", statistics.isReady ? 1 : 0)
        self.add("haredo_uptime_seconds", .gauge, "Seconds since it was started.", statistics.uptime)
        let plugins = statistics.plugins
        func each(_ value: (PluginInformation) -> Double) -> [([(String, String)], Double)] {
            plugins.map { ([("plugin", $0.name)], value($0)) }
        }
        self.add("haredo_messages_total", .counter, "Messages given to a plugin.", each { Double($0.messages) })
        self.add("haredo_errors_total", .counter, "Messages whose plugin failed.", each { Double($0.errors) })
        self.add(
            "haredo_refused_messages_total", .counter, "Messages refused because too many others waited.",
            each { Double($0.refused) })
        self.add("haredo_processing_seconds_total", .counter, "Time spent in a plugin.", each { $0.seconds })
        self.add("haredo_messages_in_flight", .gauge, "Messages in a plugin now.", each { Double($0.inFlight) })
        self.add(
            "haredo_unserved_messages_total", .counter, "Messages for which there was no plugin.",
            Double(statistics.unserved))
        self.add(
            "haredo_expired_requests_total", .counter, "Requests that nobody waited for any more.",
            Double(statistics.expired))
        self.add("haredo_parked_messages_total", .counter, "Messages that were parked.", Double(statistics.parked))
        self.add(
            "haredo_refused_commands_total", .counter, "Commands whose signature was not good.",
            Double(statistics.refusedCommands))
    }

    private mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: Double) {
        self.add(name, kind, help, [([], value)])
    }

    private mutating func add(
        _ name: String, _ kind: Kind, _ help: String, _ samples: [(labels: [(String, String)], value: Double)]
    ) {
        guard !samples.isEmpty else { return }
        self.text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
        for sample in samples {
            let labels = sample.labels.map { "\($0)=\"\(Self.escaped($1))\"" }.joined(separator: ",")
            let value = Int64(exactly: sample.value).map(String.init) ?? "\(sample.value)"
            self.text += name + (labels.isEmpty ? "" : "{\(labels)}") + " \(value)\n"
        }
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("\\", with: #"\\"#).replacing("\"", with: #"\""#).replacing("\n", with: #"\n"#)
    }
}
