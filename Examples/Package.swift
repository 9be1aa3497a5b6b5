// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

let package = Package(
    name: "Examples",
    platforms: [.macOS(.v15)],
    dependencies: [.package(name: "HareDo", path: "..")],
    targets: [
        // AMQP alone, without peers: a queue, a confirmed message, a consumer.
        .executableTarget(name: "PublishAndConsume", dependencies: [.product(name: "AMQPClient", package: "HareDo")]),
        // What a production client does about a broker that goes away: events, confirms, publishing again.
        .executableTarget(name: "Reconnecting", dependencies: [.product(name: "AMQPClient", package: "HareDo")]),
        // Two peers and the embedded broker: nothing has to be installed.
        .executableTarget(name: "CallAndServe", dependencies: [.product(name: "HareDo", package: "HareDo")]),
    ]
)
