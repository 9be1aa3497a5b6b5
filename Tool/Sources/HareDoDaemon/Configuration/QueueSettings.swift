// SPDX-License-Identifier: Apache-2.0
public import HareDo

/// The queue that the daemon listens on, and how its messages are treated.
public struct QueueSettings: Sendable, Hashable {
    /// The daemon's address.
    public var name: String
    /// What kind of queue.
    public var shape: QueueShape
    /// How many messages are handled at once. Default 256, because each plugin has limits of its own.
    public var concurrency = 256
    /// How many messages may be delivered and not acknowledged. Default: as many as are handled at once.
    public var prefetch: Int?
    /// How often a message whose plugin throws is tried in all; more than once only on request. What fails every time is
    /// parked.
    public var attempts = 1
    /// Whether a message that fails is parked, and not dropped.
    public var parks = false

    static func read(_ map: MapReader) -> QueueSettings? {
        let name = map.text("name")
        if name == nil, !map.has("name") { map.error("name", "is missing: the queue to listen on") }
        if let name, !(1...255 ~= name.utf8.count) { map.error("name", "has to have 1 to 255 bytes") }
        var settings = QueueSettings(name: name ?? "", shape: Self.shape(map.map("properties")))
        if let concurrency = map.number("concurrency", in: 1...65535) { settings.concurrency = concurrency }
        settings.prefetch = map.number("prefetch", in: 1...65535)
        if let attempts = map.number("attempts", in: 1...50) {
            settings.attempts = attempts
            settings.parks = attempts > 1
        }
        if let parks = map.flag("park") {
            if settings.attempts > 1, !parks {
                map.error("park", "cannot be false with more than one attempt: what fails every time is parked")
            }
            settings.parks = parks
        }
        map.finish()
        return name == nil ? nil : settings
    }

    /// The original's properties are those of AMQP's `queue.declare`. Not all that can be said there is a queue that
    /// brokers still accept.
    private static func shape(_ map: MapReader?) -> QueueShape {
        guard let map else { return .shared }
        let exclusive = map.flag("exclusive") ?? false
        let durable = map.flag("durable")
        // Where nothing is said: gone some time after its last daemon, unless it is to stay.
        let autoDelete = map.flag("auto_delete") ?? !(durable ?? false)
        var shape = QueueShape.shared
        let arguments = Self.arguments(map, isQuorum: &shape)
        if exclusive {
            if durable == true {
                map.error("durable", "cannot be true with exclusive: an exclusive queue is gone with its connection")
            }
            if shape == .quorum { map.error("exclusive", "cannot be true with x-queue-type quorum") }
            shape = .exclusive
        } else if shape == .quorum {
            if map.flag("auto_delete") == true {
                map.error("auto_delete", "cannot be true with x-queue-type quorum: such a queue stays")
            }
        } else if autoDelete {
            // Kept for a minute after its last listener: an auto-delete queue would lose what waits in it, and RabbitMQ
            // 4.3 refuses those that are not durable.
            shape = .shared
        } else if durable == false {
            map.error(
                "durable",
                "cannot be false with exclusive and auto_delete false: RabbitMQ 4.3 refuses such a queue; say durable: "
                    + "true (it stays) or auto_delete: true (it goes a minute after its last listener)")
        } else {
            shape = durable == true || map.has("auto_delete") ? .durable : .shared
        }
        map.finish()
        return shape.with(arguments)
    }

    private static func arguments(_ map: MapReader, isQuorum shape: inout QueueShape) -> Headers {
        guard let tree = map.tree("arguments") else { return [:] }
        guard case .map(let entries) = tree.content else {
            map.error("arguments", "has to be a map, and is \(tree.kind)")
            return [:]
        }
        var headers: Headers = [:]
        for entry in entries {
            switch (entry.key, entry.value.configuration) {
            case ("x-queue-type", "quorum"): shape = .quorum
            case ("x-queue-type", "classic"): break
            case ("x-queue-type", _): map.error("arguments", "has an x-queue-type other than classic and quorum")
            case (let key, .string(let text)): headers[key] = .string(text)
            case (let key, .integer(let number)): headers[key] = .integer(number)
            case (let key, .bool(let flag)): headers[key] = .boolean(flag)
            case (let key, .double(let number)) where number.isFinite: headers[key] = .double(number)
            case (let key, _):
                map.error("arguments", "has for '\(key)' what is neither text, nor a number, nor true or false")
            }
        }
        return headers
    }

    /// What becomes of a message whose plugin throws.
    public var onFailure: FailurePolicy {
        self.attempts > 1 ? .retry(attempts: self.attempts) : self.parks ? .park : .drop
    }
}
