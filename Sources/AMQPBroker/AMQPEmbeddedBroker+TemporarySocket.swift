// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

extension AMQPEmbeddedBroker.Address {
    /// For clients of this process: a Unix-domain socket in the folder for temporary files, with a name that no other has.
    ///
    /// It takes a sixth off a call's time over TCP, and with the usual `umask` other users cannot connect to it. Where the
    /// folder's name leaves no room for it (a socket's may have 103 bytes), a free port of this machine.
    public static func temporarySocket() -> Self {
        Self.temporarySocket(in: getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")
    }

    static func temporarySocket(in folder: String) -> Self {
        let name = "haredo-\(String(UInt64.random(in: 0 ... .max), radix: 36)).sock"
        let path = folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
        // 104 bytes with the zero at the end on Apple's systems, 108 on Linux.
        return path.utf8.count <= 103 ? .unixDomainSocket(path: path) : .tcp(host: "127.0.0.1", port: 0)
    }
}
