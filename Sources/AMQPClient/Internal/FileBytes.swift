// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Reads small files whole. Blocks.
enum FileBytes {
    /// Why a file could not be read, in a few words.
    struct Failure: Error {
        let reason: String
    }

    /// - Parameter limit: the most bytes a file may have.
    static func read(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
        // Without O_NONBLOCK opening a pipe that nobody writes to would wait for ever.
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw Self.failure(errno) }
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Self.read(file, into: &chunk)
            guard count >= 0 else { throw Self.failure(errno) }
            if count == 0 { return bytes }
            bytes.append(contentsOf: chunk[..<count])
            guard bytes.count <= limit else { throw Failure(reason: "it has more than \(limit) bytes") }
        }
    }

    private static func read(_ file: Int32, into chunk: inout [UInt8]) -> Int {
        chunk.withUnsafeMutableBytes { memory in
            while true {
                #if canImport(Glibc)
                    let count = Glibc.read(file, memory.baseAddress, memory.count)
                #elseif canImport(Musl)
                    let count = Musl.read(file, memory.baseAddress, memory.count)
                #else
                    let count = Darwin.read(file, memory.baseAddress, memory.count)
                #endif
                if count >= 0 || errno != EINTR { return count }
            }
        }
    }

    private static func failure(_ code: Int32) -> Failure {
        switch code {
        case ENOENT, ENOTDIR: Failure(reason: "there is no such file")
        case EACCES, EPERM: Failure(reason: "it may not be read")
        case EISDIR: Failure(reason: "it is a folder")
        default: Failure(reason: String(cString: strerror(code)))
        }
    }
}
