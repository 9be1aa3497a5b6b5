// SPDX-License-Identifier: Apache-2.0

/// The database that a daemon's configuration names (`system.database`), for modules and plugins that use one:
///
/// ```swift
/// let settings = try context.resources[DatabaseSettings.self]
/// ```
///
/// HareDo itself connects to none.
public struct DatabaseSettings: Sendable, Hashable, CustomStringConvertible {
    /// What kind of database, as whoever connects to it calls it, such as `postgresql`.
    public var driver: String?
    /// Where it is.
    public var host: String
    /// `nil`: the driver's own.
    public var port: Int?
    /// Which database there.
    public var name: String?
    /// The login name.
    public var user: String?
    /// The password.
    public var password: String?

    /// A database on this machine.
    public init(
        driver: String? = nil, host: String = "localhost", port: Int? = nil, name: String? = nil, user: String? = nil,
        password: String? = nil
    ) {
        self.driver = driver
        self.host = host
        self.port = port
        self.name = name
        self.user = user
        self.password = password
    }

    /// Without the password.
    public var description: String {
        let driver = self.driver.map { $0 + "://" } ?? ""
        let user = self.user.map { $0 + "@" } ?? ""
        let port = self.port.map { ":\($0)" } ?? ""
        return driver + user + self.host + port + (self.name.map { "/" + $0 } ?? "")
    }
}
