// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The process's standard input, output and error, unbuffered: what was written is out when the call returns, also into
/// a pipe, and no two lines are mixed.
enum StandardStreams {
    enum Stream: Int32 {
        case output = 1
        case error = 2
    }

    /// To be called before anything is opened. Where a stream was closed by whoever started us, its number would go to the
    /// next file or connection, and our output into that; so the number is taken, by something that refuses to be used.
    static func reserve() {
        for stream: Int32 in 0...2 where fcntl(stream, F_GETFD) == -1 {
            _ = open("/dev/null", stream == 0 ? O_WRONLY : O_RDONLY)
        }
    }

    /// Whether somebody looks at it as it is written.
    static func isTerminal(_ stream: Stream) -> Bool { isatty(stream.rawValue) == 1 }

    static func print(_ line: String) throws(ToolFailure) { try Self.write(line + "\n", to: .output) }

    /// Tells the user of something that is not the command's result.
    static func complain(_ message: String) {
        // If not even that can be written there is nobody left to tell.
        try? Self.write(Paint(.error)(.red, "haredo:") + " " + message + "\n", to: .error)
    }

    static func write(_ text: String, to stream: Stream) throws(ToolFailure) {
        try Self.write(Array(text.utf8), to: stream)
    }

    static func write(_ bytes: [UInt8], to stream: Stream) throws(ToolFailure) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Self.systemWrite(stream.rawValue, $0) }
            let error = errno
            switch written {
            case 1...: rest = rest.dropFirst(written)
            case 0: continue
            case _ where error == EINTR: continue
            case _ where error == EAGAIN:
                // Somebody made the terminal non-blocking. It has to be waited for as long as it would have blocked.
                var descriptor = pollfd(fd: stream.rawValue, events: Int16(POLLOUT), revents: 0)
                poll(&descriptor, 1, 1000)
            default:
                let name = stream == .output ? "standard output" : "standard error"
                throw ToolFailure("cannot write to \(name): \(String(cString: strerror(error)))")
            }
        }
    }

    private static func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
        #if canImport(Glibc)
            Glibc.write(descriptor, bytes.baseAddress, bytes.count)
        #elseif canImport(Musl)
            Musl.write(descriptor, bytes.baseAddress, bytes.count)
        #else
            Darwin.write(descriptor, bytes.baseAddress, bytes.count)
        #endif
    }
}
