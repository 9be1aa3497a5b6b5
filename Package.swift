// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

/// What every target of ours is compiled with. Warnings are errors by setting, not by flag, so that dependencies are not hit.
var ours: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0461-async-function-isolation.md
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0335-existential-any.md
    .enableUpcomingFeature("ExistentialAny"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0444-member-import-visibility.md
    .enableUpcomingFeature("MemberImportVisibility"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0409-access-level-on-imports.md
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

// `Scripts/fuzz.sh` sets it: libFuzzer sees which ways through our code its inputs take, and assertions are checked
// although it is optimised.
let isFuzzing = Context.environment["HAREDO_FUZZ"] == "1"
if isFuzzing { ours.append(.unsafeFlags(["-sanitize=fuzzer", "-assert-config", "Debug"])) }

let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioConcurrency: Target.Dependency = .product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let deques: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let heaps: Target.Dependency = .product(name: "HeapModule", package: "swift-collections")
let nioTLS: Target.Dependency = .product(name: "NIOTLS", package: "swift-nio")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")

let package = Package(
    name: "HareDo",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "HareDo", targets: ["HareDo"]),
        // The same targets as one shared library: a program and the plugins it loads must hold one copy of HareDo.
        .library(
            name: "HareDoDynamic", type: .dynamic,
            targets: ["HareDo", "HareDoTesting", "AMQPClient", "AMQPBroker", "AMQPWire"]),
        .library(name: "HareDoTesting", targets: ["HareDoTesting"]),
        .library(name: "AMQPClient", targets: ["AMQPClient"]),
        .library(name: "AMQPBroker", targets: ["AMQPBroker"]),
        .library(name: "AMQPWire", targets: ["AMQPWire"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .target(name: "AMQPWire", dependencies: [nioCore], swiftSettings: ours + [.strictMemorySafety()]),
        // Writes Sources/AMQPWire/Generated from the one declaration of each method: `swift run AMQPWireGenerator`.
        .executableTarget(name: "AMQPWireGenerator", swiftSettings: ours),
        .target(
            name: "AMQPClient",
            dependencies: [
                "AMQPWire", nioCore, nioPosix, nioTLS, nioSSL, nioConcurrency, deques, heaps, logging,
            ],
            swiftSettings: ours),
        .target(
            name: "AMQPBroker",
            dependencies: ["AMQPWire", nioCore, nioPosix, nioSSL, nioConcurrency, deques, heaps, logging],
            swiftSettings: ours),
        // What a plugin's library says of itself, as C: it is read before it is known whether its Swift is ours.
        .target(name: "CHareDoPlugin"),
        .target(
            name: "HareDo",
            dependencies: [
                "CHareDoPlugin", "AMQPClient", "AMQPBroker", "AMQPWire", nioCore, nioConcurrency, deques, logging,
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: ours),
        // For users' tests, with whatever testing library they have.
        .target(
            name: "HareDoTesting", dependencies: ["HareDo", "AMQPClient", "AMQPBroker"], swiftSettings: ours),
        .testTarget(
            name: "AMQPWireTests", dependencies: ["AMQPWire", "AMQPWireGenerator", "HostileSupport", nioCore],
            // Read where they lie.
            exclude: ["Golden"], swiftSettings: ours),
        .testTarget(
            name: "AMQPClientTests",
            dependencies: [
                "AMQPClient", "AMQPWire", "TestSupport", nioCore, nioPosix, nioSSL, nioConcurrency, nioEmbedded, deques,
            ],
            swiftSettings: ours),
        .testTarget(
            name: "AMQPBrokerTests",
            dependencies: [
                "AMQPBroker", "AMQPWire", "HostileSupport", "TestSupport", nioCore, nioPosix, nioConcurrency,
            ],
            swiftSettings: ours),
        // What tests share: the brokers they run on, and the count of what ran on each.
        .target(
            name: "TestSupport",
            dependencies: ["AMQPBroker", "AMQPClient", "AMQPWire", nioCore, nioPosix, nioConcurrency],
            path: "Tests/TestSupport", swiftSettings: ours),
        // Parser, client and broker without sockets under hostile bytes: for tests from a seed, and for fuzzing.
        .target(
            name: "HostileSupport",
            dependencies: [
                "AMQPWire", "AMQPClient", "AMQPBroker", nioCore, nioEmbedded, nioPosix, nioConcurrency, deques,
            ], path: "Tests/HostileSupport", swiftSettings: ours),
        .testTarget(name: "HostileTests", dependencies: ["HostileSupport", nioCore], swiftSettings: ours),
        // The same attacks in a program of their own, for optimised builds: `Scripts/hostile.sh`.
        .executableTarget(
            name: "HareDoSeeded", dependencies: ["HostileSupport"] + (isFuzzing ? ["NoCoverage"] : []),
            path: "Tests/Seeded", swiftSettings: ours),
        .testTarget(
            name: "ConformanceTests",
            dependencies: ["AMQPClient", "AMQPWire", "TestSupport", nioCore, nioPosix, nioConcurrency],
            swiftSettings: ours),
        // A real RabbitMQ whose operator and whose network do what they sometimes do.
        .testTarget(
            name: "FaultTests",
            dependencies: ["AMQPClient", "AMQPWire", "TestSupport", nioCore, nioPosix, nioConcurrency],
            swiftSettings: ours),
        .testTarget(
            name: "HareDoTests",
            dependencies: [
                "HareDo", "AMQPClient", "AMQPBroker", "AMQPWire", "TestSupport", nioCore, nioConcurrency, logging,
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: ours),
        // What a user would write: no test support, and what stands in Docs/testing.md.
        .testTarget(
            name: "HareDoTestingTests",
            dependencies: ["HareDoTesting", "HareDo", "AMQPClient", "AMQPBroker"], swiftSettings: ours),
        // Services in a process of their own, for tests that end it.
        .executableTarget(
            name: "ServiceProgram",
            dependencies: [
                "HareDo", logging, .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ], path: "Tests/ServiceProgram", swiftSettings: ours),
        // Peers is what they run: programs in other languages.
        .testTarget(
            name: "InteroperationTests",
            dependencies: [
                "HareDo", "AMQPClient", "AMQPBroker", "AMQPWire", "TestSupport", "ServiceProgram", nioConcurrency,
            ],
            exclude: ["Peers"], swiftSettings: ours),
    ]
)

if isFuzzing {
    package.targets += [
        .executableTarget(
            name: "HareDoFuzz", dependencies: ["HostileSupport"], path: "Tests/Fuzz", exclude: ["Corpus"],
            swiftSettings: ours, linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]),
        // In place of libFuzzer where nothing is to be steered.
        .target(name: "NoCoverage", path: "Tests/NoCoverage"),
    ]
}

// What takes long, or breaks a RabbitMQ many times: `make test-long` sets it.
if Context.environment["HAREDO_LONG"] == "1" {
    package.targets.append(
        .testTarget(
            name: "LongTests", dependencies: ["HareDo", "AMQPClient", "AMQPWire", "TestSupport", nioCore],
            swiftSettings: ours))
}
