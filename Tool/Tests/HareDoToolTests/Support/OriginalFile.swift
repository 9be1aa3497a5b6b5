// SPDX-License-Identifier: Apache-2.0

/// The configuration file in the original's README, but for its queue's name, ports and the paths of certificates.
enum OriginalFile {
    struct SSL {
        var isEnabled = false
        var port = "5671"
        var certificate = "/etc/haredo/ssl/cert.pem"
        var key = "/etc/haredo/ssl/key.pem"
        var authorities = "/etc/haredo/ssl/cacert.pem"
    }

    static let echo = """
            haredo:
              path_prefix: haredo/plugins
              plugins:
                echo:
                  juji: fruit

        """
    static let log = """
            myplugins:
              path_prefix: mylib/plugins
              plugins:
                log:
                  db:
                    host: localhost
                    db: vaquero
                    user: root

        """

    static func text(queue: String, port: Int, ssl: SSL = SSL(), modules: [String] = [], services: String) -> String {
        """
        ---
        system:
          broker:
            host: localhost
            user: guest
            password: guest
            port: '\(port)'
            ssl:
              enable: \(ssl.isEnabled)
              port: '\(ssl.port)'
              tls_cert: '\(ssl.certificate)'
              tls_key: '\(ssl.key)'
              tls_ca: '\(ssl.authorities)'
        daemon:
          queue:
            name: '\(queue)'
            properties:
              exclusive: false
              auto_delete: true
          key: 'b8d96b66-8cae-4e16-b5ec-d607483b061e'
          modules: [\(modules.joined(separator: ", "))]
          services:
        \(services)
        """
    }
}
