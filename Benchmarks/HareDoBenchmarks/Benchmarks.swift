// SPDX-License-Identifier: Apache-2.0
import Benchmark
import Drivers

let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .throughput], scalingFactor: .kilo, maxDuration: .seconds(1), maxIterations: 1000)
    for driver in Driver.all {
        var configuration = Benchmark.defaultConfiguration
        // Beginning 100,000 calls takes longer than what is measured beside them.
        if driver.name.contains("100,000") { configuration.maxIterations = 20 }
        Benchmark(driver.name, configuration: configuration) { benchmark in
            // Everything on one thread, which may not be the one of a set-up.
            let operation = try driver.prepare()
            benchmark.startMeasurement()
            try operation(benchmark.scaledIterations.count)
            benchmark.stopMeasurement()
        }
    }
    for place in DeliverySequence.Place.allCases {
        Benchmark("deliveries: for await \(place.rawValue)") { benchmark in
            let sequence = try DeliverySequence()
            benchmark.startMeasurement()
            try await sequence.iterate(benchmark.scaledIterations.count, place)
            benchmark.stopMeasurement()
        }
    }
}
