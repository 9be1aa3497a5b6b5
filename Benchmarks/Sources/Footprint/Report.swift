// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import Measuring

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Runs the probes and says what they found.
struct Report {
    var idle: Double
    var perCall: Double
    var callCost: (few: Double, many: Double)
    var tableCost: (few: Double, many: Double)

    static func run(_ options: Options) async throws {
        var folder: String?
        var broker: ChildProcess?
        if let url = options.broker {
            Environment[Environment.broker] = url
        } else {
            let path = try self.makeFolder()
            folder = path
            Environment[Environment.folder] = path
            Environment[Environment.broker] = self.url(ofSocket: path + "/broker")
            broker = try ChildProcess(.broker, mode: "w")
        }
        defer {
            _ = broker?.wait()
            if let folder { rmdir(folder) }
        }
        try await self.awaitBroker()
        let echo = try ChildProcess(.echo, mode: "w")
        defer { _ = echo.wait() }

        var memory: [Probe: [Double]] = [:]
        for _ in 0..<options.runs {
            for probe in [Probe.idle, .tasks, .calls] {
                memory[probe, default: []] += try ChildProcess.numbers(probe)
            }
        }
        let cost = try ChildProcess.numbers(.cost)
        guard cost.count == 4 else { throw Failure("the probe of costs printed \(cost.count) numbers") }
        func median(_ probe: Probe) -> Double { memory[probe, default: []].median }
        let report = Report(
            idle: median(.idle),
            perCall: (median(.calls) - median(.tasks)) / Double(Probe.outstanding),
            callCost: (cost[0], cost[1]), tableCost: (cost[2], cost[3]))
        print(options.isJSON ? report.json : report.text)
    }

    /// The broker may just be starting.
    private static func awaitBroker() async throws {
        let configuration = try AMQPConfiguration(uri: Environment[Environment.broker] ?? "")
        let deadline = ContinuousClock.now + .seconds(10)
        while true {
            do {
                await (try AMQPConnection.connect(configuration)).close()
                return
            } catch {
                guard ContinuousClock.now < deadline else { throw error }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    private static func makeFolder() throws -> String {
        var name = Array("/tmp/haredo-footprint.XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else { throw Failure("no folder can be made in /tmp") }
        return String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func url(ofSocket path: String) -> String { "unix:\(path)" }

    // MARK: - Words

    private var text: String {
        """
        memory of an idle peer            \(Self.round(self.idle / 1_048_576, 1)) MiB        at most 20
        memory per outstanding call       \(Self.round(self.perCall, 0)) B, beyond that of its suspended task   at most 1024
        processor time of a call          \(Self.round(self.callCost.few * 1e6, 1)) µs
          beside 100,000 outstanding      \(Self.round(self.callCost.many * 1e6, 1)) µs: \
        × \(Self.round(self.callCost.many / self.callCost.few, 2))        at most 1.3
        of which its bookkeeping          \(Self.round(self.tableCost.few * 1e6, 2)) µs
          beside 100,000 outstanding      \(Self.round(self.tableCost.many * 1e6, 2)) µs: \
        × \(Self.round(self.tableCost.many / self.tableCost.few, 2))
        """
    }

    private var json: String {
        """
        {"idleBytes": \(self.idle), "bytesPerCall": \(self.perCall), \
        "callSeconds": \(self.callCost.few), "callSecondsBeside100000": \(self.callCost.many), \
        "bookkeepingSeconds": \(self.tableCost.few), "bookkeepingSecondsBeside100000": \(self.tableCost.many)}
        """
    }

    private static func round(_ number: Double, _ digits: Int) -> String {
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let rounded = (number * scale).rounded() / scale
        return digits == 0 ? "\(Int(rounded))" : "\(rounded)"
    }
}
