// SPDX-License-Identifier: Apache-2.0
import HostileSupport

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

// libFuzzer on one of the targets, which HAREDO_FUZZ_TARGET names. Built and run by Scripts/fuzz.sh.

@_silgen_name("LLVMFuzzerRunDriver")
func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// Standard error's own variable is one that Swift does not let be used.
func report(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = write(2, bytes, bytes.count)
}

let name = getenv("HAREDO_FUZZ_TARGET").map { String(cString: $0) } ?? ""
guard let target = FuzzTarget(rawValue: name) else {
    report("HAREDO_FUZZ_TARGET is one of \(FuzzTarget.allCases.map(\.rawValue)), not '\(name)'")
    exit(2)
}

/// Read by a C function, which captures nothing.
enum Chosen {
    nonisolated(unsafe) static var target = FuzzTarget.wire
}
Chosen.target = target

// Swift's backtraces would take the signals that libFuzzer has to see, so that it keeps the input.
for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE] { signal(number, SIG_DFL) }

var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
let status = runDriver(&count, &arguments) { data, size in
    do {
        try Chosen.target.run(Array(UnsafeBufferPointer(start: data, count: size)))
    } catch {
        // A finding is to libFuzzer what ends the process.
        report("finding: \(error)")
        abort()
    }
    return 0
}
exit(status)
