// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Subprocess
import Testing

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// A client of HTTP and a reader of Prometheus' format that are not ours: Python's, and Prometheus' own for Python.
private enum PrometheusClient {
    struct Answer: Decodable {
        var status: Int
        var type: String?
        var body: String
        /// `NAME{LABEL=VALUE}` and its value.
        var samples: [String: Double]?
    }

    private static let script = """
        import json, sys, urllib.error, urllib.request
        from prometheus_client.parser import text_string_to_metric_families
        try:
            answer = urllib.request.urlopen(sys.argv[1], timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        body = answer.read().decode()
        result = {"status": answer.status, "type": answer.headers["Content-Type"], "body": body}
        if sys.argv[1].endswith("/metrics"):
            result["samples"] = {
                sample.name + "".join("{%s=%s}" % pair for pair in sorted(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(body) for sample in family.samples}
        print(json.dumps(result))
        """

    static func get(_ port: Int, _ path: String) async throws -> Answer {
        let result = try await Subprocess.run(
            .path("/usr/bin/python3"), arguments: ["-c", Self.script, "http://127.0.0.1:\(port)\(path)"],
            output: .data(limit: 1 << 20), error: .string(limit: 1 << 16))
        guard result.terminationStatus.isSuccess else {
            throw ToolTestError(result.standardError)
        }
        return try JSONDecoder().decode(Answer.self, from: result.standardOutput)
    }

    /// In CI it has to be there.
    static var isExpected: Bool {
        get async {
            if ProcessInfo.processInfo.environment["CI"] != nil { return true }
            let check = try? await Subprocess.run(
                .path("/usr/bin/python3"), arguments: ["-c", "import prometheus_client"], output: .discarded,
                error: .discarded)
            return check?.terminationStatus.isSuccess == true
        }
    }
}

extension ToolTests {
    @Test(
        "Health and metrics over HTTP, as Prometheus reads them",
        .enabled("needs the package python3-prometheus-client") { await PrometheusClient.isExpected },
        arguments: TestBroker.available)
    func daemonHTTP(broker: TestBroker) async throws {
        try await broker.run { url in
            try await DaemonPlace.with { place in
                let port = try freePort()
                let queue = uniqueQueue()
                try place.write(broker: url, queue: queue, more: "  http: {port: \(port)}")
                #expect(try await place.haredo("start").status == 0)
                let live = try await PrometheusClient.get(port, "/health/live")
                #expect(live.status == 200 && live.body == "live\n")
                let ready = try await PrometheusClient.get(port, "/health/ready")
                #expect(ready.status == 200 && ready.body == "ready\n", "\(ready)")
                #expect(try await PrometheusClient.get(port, "/etc/passwd").status == 404)
                for _ in 0..<3 {
                    let reply = try await haredo(
                        "call", queue, "-H", "uuid=echo", "-d", "x", "--timeout", "10", broker: url)
                    #expect(reply.text == "x\n")
                }
                let metrics = try await PrometheusClient.get(port, "/metrics")
                #expect(metrics.status == 200)
                #expect(metrics.type == "text/plain; version=0.0.4; charset=utf-8")
                let samples = try #require(metrics.samples)
                #expect(samples["haredo_messages_total{plugin=echo}"] == 3, "\(metrics.body)")
                #expect(samples["haredo_messages_total{plugin=status}"] == 0)
                #expect(samples["haredo_errors_total{plugin=echo}"] == 0)
                #expect(samples["haredo_ready"] == 1)

                // Taken, it is no port for another.
                let second = try await place.haredo("start", "--pid-file", place.folder + "/other.pid")
                #expect(second.status == 69, "\(second.error)")
                #expect(second.error.contains("port \(port) of this machine ('daemon.http'): it is taken"))

                #expect(try await place.haredo("drain").status == 0)
                let drained = try await PrometheusClient.get(port, "/health/ready")
                #expect(drained.status == 503 && drained.body == "not ready: drained\n", "\(drained)")
                #expect(try await PrometheusClient.get(port, "/health/live").status == 200)
            }
        }
    }

    @Test(
        "A daemon that waits for its broker lives, and is not ready",
        .enabled("needs the package python3-prometheus-client") { await PrometheusClient.isExpected })
    func daemonHTTPWaiting() async throws {
        try await DaemonPlace.with { place in
            let port = try freePort()
            try place.write(
                broker: "amqp://guest:guest@127.0.0.1:\(try freePort())", queue: "q", more: "  http: {port: \(port)}")
            #expect(try await place.haredo("start").status == 0)
            #expect(try await PrometheusClient.get(port, "/health/live").status == 200)
            let ready = try await PrometheusClient.get(port, "/health/ready")
            #expect(ready.status == 503 && ready.body == "not ready: starting\n", "\(ready)")
        }
    }
}
