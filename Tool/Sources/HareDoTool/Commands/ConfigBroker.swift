// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo
import HareDoDaemon

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension Config {
    struct Broker: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tries a broker, or writes it into the file.",
            discussion: """
                The password is taken from the environment: HAREDO_PASSWORD or PRBPASSWORD. With --test a connection is made: \
                what was tried is printed, without the password, then `succeeded` or `failed: REASON`. Without it the \
                settings are written into the file, whose comments and order stay as they are.

                Examples:
                  HAREDO_PASSWORD=guest haredo config broker -t -u guest -s localhost
                  HAREDO_PASSWORD=secret haredo config broker -u haredo -s broker.example.org --ssl --ca /etc/haredo/ssl/cacert.pem
                """)

        @Flag(name: [.customShort("t"), .long], help: "Try it, and write nothing.")
        var test = false

        @Option(name: [.customShort("u"), .long], help: "The login name.")
        var user = "guest"

        @Option(name: [.customShort("s"), .long], help: "The host.")
        var host = "localhost"

        @Option(name: [.customShort("p"), .long], help: "The port. Default: 5672, with --ssl 5671.")
        var port: Int?

        @Option(name: [.customShort("V"), .long], help: "The virtual host.")
        var vhost = "/"

        @Flag(help: "Use TLS.")
        var ssl = false

        @Option(help: ArgumentHelp("The client's certificate.", valueName: "file"))
        var cert: String?

        @Option(help: ArgumentHelp("The certificate's key.", valueName: "file"))
        var key: String?

        @Option(
            help: ArgumentHelp(
                "The authority behind the broker's certificate. Default: the system's.", valueName: "file"))
        var ca: String?

        @OptionGroup var file: File

        func validate() throws {
            guard self.port.map({ 1...65535 ~= $0 }) ?? true else { throw ValidationError("--port is 1 to 65535") }
            guard self.ssl || (self.cert == nil && self.key == nil && self.ca == nil) else {
                throw ValidationError("--cert, --key and --ca are for --ssl")
            }
            guard (self.cert == nil) == (self.key == nil) else { throw ValidationError("--cert and --key go together") }
        }

        func run() async throws {
            if self.test {
                try await self.tryIt()
            } else {
                try self.write()
            }
        }

        private func tryIt() async throws {
            var settings = BrokerSettings()
            settings.hosts = [self.host]
            settings.port = self.port ?? (self.ssl ? 5671 : 5672)
            settings.user = self.user
            settings.password = Config.password ?? ""
            settings.virtualHost = self.vhost
            if self.ssl {
                settings.tls = BrokerSettings.TLS(certificate: self.cert, key: self.key, authorities: self.ca)
            }
            let shown: ConfigurationValue = [
                "user": .string(self.user), "host": .string(self.host), "port": .integer(Int64(settings.port ?? 0)),
                "vhost": .string(self.vhost), "ssl": .bool(self.ssl),
            ]
            try StandardStreams.print(try JSONLine.of(shown))
            var configuration = Peer.Configuration.url(settings.connectionURL)
            configuration.reconnects = false
            let peer = Peer(configuration)
            try await Config.tell("the broker has not answered yet") {
                try await peer.connect()
                await peer.disconnect()
            }
        }

        private func write() throws {
            try self.file.edit { edit in
                if !self.ssl, edit.has(["system", "broker", "ssl"]) {
                    try edit.set(["system", "broker", "ssl", "enable"], to: .flag(false))
                }
                for (key, value) in self.values { try edit.set(["system", "broker"] + key, to: value) }
            }
        }

        private var values: [([String], ConfigurationEdit.Value)] {
            var values: [([String], ConfigurationEdit.Value)] = [
                (["embedded"], .flag(false)), (["host"], .text(self.host)), (["user"], .text(self.user)),
                (["vhost"], .text(self.vhost)),
            ]
            if let password = Config.password { values.append((["password"], .text(password))) }
            if self.ssl {
                values += [(["ssl", "enable"], .flag(true)), (["ssl", "port"], .number(self.port ?? 5671))]
                for (key, file) in [("tls_cert", self.cert), ("tls_key", self.key), ("tls_ca", self.ca)] {
                    if let file { values.append((["ssl", key], .text(file))) }
                }
            } else {
                values.append((["port"], .number(self.port ?? 5672)))
            }
            return values
        }
    }
}
