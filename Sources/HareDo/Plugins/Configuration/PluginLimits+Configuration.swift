// SPDX-License-Identifier: Apache-2.0

extension PluginLimits {
    /// The key of a plugin's configuration that holds them.
    private static let key = "limits"

    /// Takes the limits out of a plugin's configuration.
    ///
    /// - Returns: the limits, and what the plugin itself sees.
    /// - Throws: `invalidConfiguration`, or `invalidArgument` for a limit that cannot be.
    static func taken(
        from configuration: ConfigurationValue, of plugin: String, default limits: PluginLimits
    ) throws(HareDoError) -> (PluginLimits, ConfigurationValue) {
        var limits = limits
        var rest = configuration
        if case .map(var map) = configuration, map[Self.key] != nil {
            let reader = ConfigurationReader(configuration, of: "plugin '\(plugin)'")[Self.key]
            try reader.allow(keys: ["inFlight", "waiting", "deadline"])
            // Only a map has places.
            _ = try reader.map
            if let value = reader["inFlight"].ifPresent { limits.inFlight = try value.integer }
            if let value = reader["waiting"].ifPresent { limits.waiting = try value.integer }
            if let value = reader["deadline"].ifPresent { limits.deadline = .seconds(try value.double) }
            map[Self.key] = nil
            rest = .map(map)
        }
        try limits.check(of: plugin)
        return (limits, rest)
    }
}
