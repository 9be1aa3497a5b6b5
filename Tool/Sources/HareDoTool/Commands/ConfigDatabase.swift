// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo
import HareDoDaemon

extension Config {
    struct Database: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tries where a database is, or writes it into the file.",
            discussion: """
                The database is for modules and plugins, which find it as a resource. The password is taken from the \
                environment: HAREDO_PASSWORD or PRBPASSWORD. With --test a TCP connection is opened and closed: what was \
                tried is printed, then `succeeded` or `failed: REASON`. Without it the settings are written into the file, \
                whose comments and order stay as they are.

                Examples:
                  haredo config database -t -s db.example.org --driver postgresql
                  HAREDO_PASSWORD=secret haredo config database -s db.example.org -n vaquero -u haredo
                """)

        @Flag(name: [.customShort("t"), .long], help: "Try it, and write nothing.")
        var test = false

        @Option(name: [.customShort("s"), .long], help: "The host.")
        var host = "localhost"

        @Option(name: [.customShort("p"), .long], help: "The port. Default: the driver's.")
        var port: Int?

        @Option(name: [.customShort("n"), .long], help: "Which database there.")
        var name: String?

        @Option(name: [.customShort("u"), .long], help: "The login name.")
        var user: String?

        @Option(name: [.customShort("d"), .long], help: "What kind of database: postgresql, mysql, …")
        var driver: String?

        @OptionGroup var file: File

        /// Of databases that are often met, by what drivers call them.
        private static let ports = [
            "postgresql": 5432, "postgres": 5432, "pgsql": 5432, "qpsql": 5432, "mysql": 3306, "mariadb": 3306,
            "qmysql": 3306, "mssql": 1433, "mongodb": 27017, "redis": 6379,
        ]
        private var effectivePort: Int? { self.port ?? self.driver.flatMap { Self.ports[$0.lowercased()] } }

        func validate() throws {
            guard self.port.map({ 1...65535 ~= $0 }) ?? true else { throw ValidationError("--port is 1 to 65535") }
            guard !self.test || self.effectivePort != nil else {
                throw ValidationError("which port? Say it with --port, or a well-known --driver")
            }
        }

        func run() async throws {
            guard self.test, let port = self.effectivePort else {
                return try self.file.edit { edit in
                    for (key, value) in self.values { try edit.set(["system", "database", key], to: value) }
                }
            }
            var shown: [String: ConfigurationValue] = ["host": .string(self.host), "port": .integer(Int64(port))]
            for (key, value) in [("driver", self.driver), ("name", self.name), ("user", self.user)] {
                shown[key] = value.map { .string($0) }
            }
            try StandardStreams.print(try JSONLine.of(shown))
            let host = self.host
            try await Config.tell("the database has not answered yet") {
                try TCPProbe.connect(host: host, port: port, within: .seconds(10))
            }
        }

        private var values: [(String, ConfigurationEdit.Value)] {
            var values: [(String, ConfigurationEdit.Value)] = [("host", .text(self.host))]
            if let port { values.append(("port", .number(port))) }
            for (key, value) in [
                ("driver", self.driver), ("name", self.name), ("user", self.user), ("password", Config.password),
            ] {
                if let value { values.append((key, .text(value))) }
            }
            return values
        }
    }
}
