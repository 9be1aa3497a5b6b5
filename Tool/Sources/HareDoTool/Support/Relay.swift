// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

enum Relay {
    /// Copies what comes out of a pipe, until whoever writes into it is gone or has another standard error. Closes it.
    static func toStandardError(from descriptor: Int32) throws(ToolFailure) {
        defer { close(descriptor) }
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            guard count != 0, count > 0 || errno == EINTR else { return }
            if count > 0 { try StandardStreams.write(Array(chunk.prefix(count)), to: .error) }
        }
    }
}
