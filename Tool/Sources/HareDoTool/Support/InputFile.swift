// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A file to read from its beginning to its end.
struct InputFile: ~Copyable {
    private let descriptor: Int32
    private let name: String

    private init(descriptor: Int32, name: String) {
        self.descriptor = descriptor
        self.name = name
    }

    static var standardInput: InputFile { InputFile(descriptor: 0, name: "standard input") }

    init(path: String) throws(ToolFailure) {
        guard !path.isEmpty else { throw ToolFailure("there is no name after the @ of -d @FILE") }
        let name = "'\(path)'"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.cannotRead(name, errno) }
        self.init(descriptor: descriptor, name: name)
    }

    deinit {
        // Standard input was open before us.
        if self.descriptor > 0 { close(self.descriptor) }
    }

    func read(atMost limit: Int) throws(ToolFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = chunk.withUnsafeMutableBytes { Self.systemRead(self.descriptor, $0) }
            let error = errno
            switch count {
            case 0: return bytes
            case 1...:
                bytes.append(contentsOf: chunk[..<count])
                guard bytes.count <= limit else {
                    throw ToolFailure("\(self.name) has more than \(limit >> 20) MiB, the most a message may have")
                }
            case _ where error == EINTR: continue
            case _ where error == EAGAIN:
                var descriptor = pollfd(fd: self.descriptor, events: Int16(POLLIN), revents: 0)
                poll(&descriptor, 1, 1000)
            default: throw Self.cannotRead(self.name, error)
            }
        }
    }

    private static func cannotRead(_ name: String, _ error: Int32) -> ToolFailure {
        ToolFailure("cannot read \(name): \(String(cString: strerror(error)))")
    }

    private static func systemRead(_ descriptor: Int32, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        #if canImport(Glibc)
            Glibc.read(descriptor, bytes.baseAddress, bytes.count)
        #elseif canImport(Musl)
            Musl.read(descriptor, bytes.baseAddress, bytes.count)
        #else
            Darwin.read(descriptor, bytes.baseAddress, bytes.count)
        #endif
    }
}
