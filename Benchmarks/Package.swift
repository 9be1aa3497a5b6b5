// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

/// What every target of ours is compiled with: the same as in the package above.
let ours: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

/// What is measured is built exactly as for any user. To see its `package` declarations all the same, targets here say
/// that they belong to that package, under the name SwiftPM gives it: its folder's, in small letters and as an identifier.
let inside: [SwiftSetting] = [
    .unsafeFlags([
        "-package-name",
        Context.packageDirectory.split(separator: "/").dropLast().last.map { folder in
            String(
                folder.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }.enumerated()
                    .flatMap { $0.offset == 0 && $0.element.isNumber ? ["_", $0.element] : [$0.element] })
        } ?? "",
    ])
]

let hareDo: [Target.Dependency] = ["HareDo", "AMQPClient", "AMQPBroker", "AMQPWire"].map {
    .product(name: $0, package: "HareDo")
}

// `Scripts/counts.sh` sets it: for counting instructions nothing has to be built that runs benchmarks.
let countsOnly = Context.environment["HAREDO_COUNTS"] == "1"

let package = Package(
    name: "HareDoBenchmarks",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(name: "HareDo", path: ".."),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    ],
    targets: [
        // What is measured: loops without sockets and clocks, for one thread.
        .target(
            name: "Drivers",
            dependencies: hareDo + [
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOEmbedded", package: "swift-nio"),
            ],
            packageAccess: false, swiftSettings: ours + inside),
        .executableTarget(name: "Counts", dependencies: ["Drivers"], swiftSettings: ours),
        // What this process uses.
        .target(name: "Measuring", packageAccess: false, swiftSettings: ours + inside),
        .executableTarget(
            name: "Footprint", dependencies: hareDo + ["Measuring", .product(name: "NIOCore", package: "swift-nio")],
            packageAccess: false, swiftSettings: ours + inside),
        .executableTarget(
            name: "Routing", dependencies: hareDo + ["Measuring"], packageAccess: false, swiftSettings: ours + inside),
    ]
)

if !countsOnly {
    // Without its traits, which count allocations and retains: they crash or read 0 where this has to run.
    // Scripts/counts.sh counts allocations.
    package.dependencies.append(
        .package(url: "https://github.com/ordo-one/benchmark", exact: "1.38.1", traits: []))
    package.targets.append(
        // Its folder has to lie in one called Benchmarks: so the tool finds it.
        .executableTarget(
            name: "HareDoBenchmarks",
            dependencies: hareDo + [
                "Drivers", .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Benchmark", package: "benchmark"),
            ],
            path: "HareDoBenchmarks", packageAccess: false, swiftSettings: ours + inside,
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]))
}
