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
        // A service adds one to a number; sending and receiving by id.
        .executableTarget(name: "Increment", dependencies: [.product(name: "HareDo", package: "HareDo")]),
        // Event dispatch: nobody replies.
        .executableTarget(name: "LogService", dependencies: [.product(name: "HareDo", package: "HareDo")]),
        // A call, and one that times out.
        .executableTarget(name: "RemoteCall", dependencies: [.product(name: "HareDo", package: "HareDo")]),
        // Three instances share a queue.
        .executableTarget(name: "SharedQueue", dependencies: [.product(name: "HareDo", package: "HareDo")]),
        // Plugins by closure, addressed by uuid.
        .executableTarget(name: "EchoPlugin", dependencies: [.product(name: "HareDo", package: "HareDo")]),
        // Typed calls of named methods.
        .executableTarget(name: "Calculator", dependencies: [.product(name: "HareDo", package: "HareDo")]),
    ]
)
