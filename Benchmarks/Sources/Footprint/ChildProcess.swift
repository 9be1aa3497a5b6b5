// SPDX-License-Identifier: Apache-2.0
import Measuring

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// This program once more, in another process. The C library alone starts it: with Foundation's `Process` linked, every
/// process here would carry Foundation.
final class ChildProcess {
    #if canImport(Musl)
        private var pipe: OpaquePointer?
    #else
        private var pipe: UnsafeMutablePointer<FILE>?
    #endif

    /// - Parameter mode: `r` to read its output; `w` to hold its input open: it ends when that ends, so that it never
    ///   outlives this process.
    init(_ probe: Probe, mode: String) throws {
        var path = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &path, path.count - 1)
        guard length > 0 else { throw Failure("there is no /proc/self/exe: this needs Linux") }
        let program = String(decoding: path.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let quoted =
            "'" + program.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
        guard let pipe = popen("exec \(quoted) \(probe.rawValue)", mode) else { throw Failure("popen failed") }
        self.pipe = pipe
    }

    deinit { _ = self.wait() }

    /// Lets it end, and waits until it has.
    func wait() -> Int32 {
        guard let pipe else { return 0 }
        self.pipe = nil
        return pclose(pipe)
    }

    /// What it printed: one number to a line.
    static func numbers(_ probe: Probe) throws -> [Double] {
        let child = try ChildProcess(probe, mode: "r")
        var numbers: [Double] = []
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, Int32(line.count), child.pipe) != nil {
            let text = String(
                decoding: line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard let number = Double(text) else { throw Failure("\(probe.rawValue) printed '\(text)'") }
            numbers.append(number)
        }
        guard child.wait() == 0 else { throw Failure("the process '\(probe.rawValue)' failed") }
        return numbers
    }
}

/// Environment variables: how probes are told of the broker.
enum Environment {
    static let broker = "HAREDO_FOOTPRINT_BROKER"
    static let folder = "HAREDO_FOOTPRINT_FOLDER"

    static subscript(name: String) -> String? {
        get { getenv(name).map { String(cString: $0) } }
        set { if let newValue { setenv(name, newValue, 1) } else { unsetenv(name) } }
    }
}
