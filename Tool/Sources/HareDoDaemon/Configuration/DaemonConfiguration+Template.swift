// SPDX-License-Identifier: Apache-2.0

extension DaemonConfiguration {
    /// A file that runs as it is: a broker of the daemon's own, a queue, and the plugins `echo` and `status`.
    ///
    /// - Parameters:
    ///   - port: of the broker, on loopback.
    ///   - key: a fresh one.
    public static func template(port: Int, key: String) -> String {
        """
        # The configuration of the HareDo daemon: `haredo config check` checks it, `haredo start` runs it.
        # ${NAME} and ${NAME:default} stand for variables of the environment.
        system:
          broker:
            # The daemon hosts a broker itself, for programs on this machine. To use RabbitMQ, leave these two lines out:
            embedded: true
            port: \(port)
            # and say where it is:
            # host: localhost
            # user: guest
            # password_file: /etc/haredo/password
            # vhost: /
            # ssl:
            #   enable: true
            #   port: 5671
            #   tls_cert: /etc/haredo/ssl/cert.pem
            #   tls_key: /etc/haredo/ssl/key.pem
            #   tls_ca: /etc/haredo/ssl/cacert.pem
        daemon:
          # What the daemon listens on. Several daemons with one queue share its messages.
          queue:
            name: jujifruit
          # Commands to the running daemon are signed with it: keep it secret.
          key: \(key)
          services:
            haredo:
              path_prefix: haredo/plugins
              plugins:
                echo:
                status:

        """
    }
}
