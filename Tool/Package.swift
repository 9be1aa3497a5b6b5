// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

/// What every target of ours is compiled with: the same as in the package above.
let ours: [SwiftSetting] = [
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

/// The one way to HareDo. Nothing that HareDo links itself (swift-log, SwiftNIO, ServiceLifecycle) may be listed here as
/// well: the process would hold two copies of it, and plugins would meet the wrong one.
let hareDo: Target.Dependency = .product(name: "HareDoDynamic", package: "HareDo")
let subprocess: Target.Dependency = .product(name: "Subprocess", package: "swift-subprocess")
let system: Target.Dependency = .product(
    name: "SystemPackage", package: "swift-system", condition: .when(platforms: [.linux]))

/// Plugins for the tests, good ones and bad ones. Names of products are global in a build: none may be called as a plugin
/// that somebody would write. Tests install them under plain names.
let fixtures: [(product: String, target: Target)] = [
    (
        "haredofixtureborder",
        .target(name: "Border", dependencies: [hareDo], path: "Fixtures/Border", swiftSettings: ours)
    ),
    (
        "haredofixturemodule",
        .target(name: "FixtureModule", dependencies: [hareDo], path: "Fixtures/Module", swiftSettings: ours)
    ),
    (
        "haredofixturecopy",
        .target(
            name: "Copy", dependencies: [.product(name: "HareDo", package: "HareDo")], path: "Fixtures/Copy",
            swiftSettings: ours)
    ),
    // Those that the original's example file names.
    (
        "haredofixturevaqueroconfig",
        .target(
            name: "VaqueroConfig", dependencies: [hareDo, "CSQLite"], path: "Fixtures/VaqueroConfig",
            swiftSettings: ours)
    ),
    (
        "haredofixturevaquerolog",
        .target(name: "VaqueroLog", dependencies: [hareDo], path: "Fixtures/VaqueroLog", swiftSettings: ours)
    ),
    ("haredofixturedescriptor", .target(name: "FixtureDescriptor", path: "Fixtures/Descriptor")),
    ("haredofixtureundefined", .target(name: "FixtureUndefined", path: "Fixtures/Undefined")),
    ("haredofixturehidden", .target(name: "FixtureHidden", path: "Fixtures/Hidden")),
]

let package = Package(
    name: "HareDoTool",
    platforms: [.macOS(.v15)],
    products: [.executable(name: "haredo", targets: ["HareDoCommand"])]
        + fixtures.map { .library(name: $0.product, type: .dynamic, targets: [$0.target.name]) },
    dependencies: [
        .package(name: "HareDo", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
        // Configuration files are YAML, as the original's.
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        // Health and metrics over HTTP; it depends on nothing.
        .package(url: "https://github.com/swhitty/FlyingFox", from: "0.27.1"),
        // Of this only the type of a path, which swift-subprocess takes; Apple's systems have it built in.
        .package(url: "https://github.com/apple/swift-system", from: "1.5.0"),
    ],
    targets: [
        .target(
            name: "HareDoDaemon",
            dependencies: [
                hareDo, .product(name: "Yams", package: "Yams"), .product(name: "FlyingFox", package: "FlyingFox"),
                .product(name: "FlyingSocks", package: "FlyingFox"),
            ],
            swiftSettings: ours),
        .testTarget(name: "HareDoDaemonTests", dependencies: ["HareDoDaemon", hareDo], swiftSettings: ours),
        .target(
            name: "HareDoTool",
            dependencies: [
                "HareDoDaemon", hareDo, subprocess, system,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            swiftSettings: ours),
        // The README's program, letter by letter; a test compares the two, and runs it.
        .executableTarget(name: "ReadmeProgram", dependencies: [hareDo], swiftSettings: ours),
        .executableTarget(name: "HareDoCommand", dependencies: ["HareDoTool"], swiftSettings: ours),
        .testTarget(
            name: "HareDoToolTests",
            dependencies: ["HareDoTool", "HareDoCommand", "ReadmeProgram", hareDo, subprocess, system],
            swiftSettings: ours),
        .systemLibrary(
            name: "CSQLite", path: "Fixtures/CSQLite", providers: [.apt(["libsqlite3-dev"]), .brew(["sqlite"])]),
    ] + fixtures.map(\.target)
)
