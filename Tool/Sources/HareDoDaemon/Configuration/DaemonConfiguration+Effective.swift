// SPDX-License-Identifier: Apache-2.0
public import HareDo

extension DaemonConfiguration {
    /// All that holds, defaults included and secrets masked.
    public var effective: ConfigurationValue {
        [
            "system": ["broker": self.broker.effective, "database": self.database?.effective ?? .null],
            "daemon": [
                "queue": self.queue.effective, "key": self.key == nil ? nil : .string(Self.mask),
                "modules": .map(Self.effective(self.modules)),
                "services": .map(
                    Dictionary(
                        self.services.map { service in
                            let value: ConfigurationValue = [
                                "path_prefix": .string(service.prefix),
                                "plugins": .map(Self.effective(service.plugins)),
                            ]
                            return (service.name, value)
                        }, uniquingKeysWith: { $1 })),
                "plugin_path": .list(self.pluginFolders.map { .string($0) }),
                "timeout": .double(self.timeout / .seconds(1)), "drain_timeout": .double(self.drain / .seconds(1)),
                "http": self.httpPort.map { ["port": .integer(Int64($0))] } ?? .null,
                "logging": [
                    "level": .string(self.logging.level.rawValue),
                    "format": self.logging.format == .json ? "json" : "text",
                    "target": self.logging.target == .syslog ? "syslog" : "stderr",
                ],
            ],
        ]
    }

    static let mask = "********"

    private static func effective(_ plugins: [PluginSettings]) -> [String: ConfigurationValue] {
        Dictionary(plugins.map { ($0.name, self.masked($0.configuration)) }, uniquingKeysWith: { $1 })
    }

    /// A plugin's configuration is its own business, but what is called a secret is one.
    static func masked(_ value: ConfigurationValue) -> ConfigurationValue {
        switch value {
        case .map(let map):
            .map(
                Dictionary(
                    uniqueKeysWithValues: map.map { key, value in
                        let name = key.lowercased()
                        let isSecret = ["password", "secret", "token", "key"].contains { name.contains($0) }
                        return (key, isSecret && value != .null ? .string(self.mask) : self.masked(value))
                    }))
        case .list(let list): .list(list.map(self.masked))
        default: value
        }
    }
}

extension BrokerSettings {
    fileprivate var effective: ConfigurationValue {
        if self.isEmbedded { return ["embedded": true, "port": .integer(Int64(self.port ?? 5672))] }
        // A URL has the password in its middle.
        if self.url != nil { return ["url": .string(DaemonConfiguration.mask)] }
        return [
            "hosts": .list(self.hosts.map { .string($0) }), "port": .integer(Int64(self.port ?? 5672)),
            "user": .string(self.user), "password": .string(DaemonConfiguration.mask),
            "vhost": .string(self.virtualHost),
            "ssl": [
                "enable": .bool(self.tls != nil), "tls_cert": self.tls?.certificate.map { .string($0) } ?? .null,
                "tls_key": self.tls?.key.map { .string($0) } ?? .null,
                "tls_ca": self.tls?.authorities.map { .string($0) } ?? .null,
            ],
            "connect_timeout": .double(self.connectTimeout / .seconds(1)),
            "unreachable": self.waits ? "wait" : "fail",
        ]
    }
}

extension DatabaseSettings {
    fileprivate var effective: ConfigurationValue {
        [
            "driver": self.driver.map { .string($0) } ?? .null, "host": .string(self.host),
            "port": self.port.map { .integer(Int64($0)) } ?? .null, "name": self.name.map { .string($0) } ?? .null,
            "user": self.user.map { .string($0) } ?? .null,
            "password": self.password == nil ? nil : .string(DaemonConfiguration.mask),
        ]
    }
}

extension QueueSettings {
    fileprivate var effective: ConfigurationValue {
        [
            "name": .string(self.name), "shape": .string(self.shape.name),
            "concurrency": .integer(Int64(self.concurrency)),
            "prefetch": .integer(Int64(self.prefetch ?? self.concurrency)), "attempts": .integer(Int64(self.attempts)),
            "park": .bool(self.parks),
        ]
    }
}
