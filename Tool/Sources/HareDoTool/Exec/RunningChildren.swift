// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The process groups of the commands that run, so that none outlives a process that ends at once.
actor RunningChildren {
    private var groups: [UInt64: pid_t] = [:]
    private var lastRun: UInt64 = 0

    /// - Returns: what the run is called here.
    func newRun() -> UInt64 {
        self.lastRun += 1
        return self.lastRun
    }

    func started(_ run: UInt64, group: pid_t) { self.groups[run] = group }
    func ended(_ run: UInt64) { self.groups[run] = nil }

    func killAll() {
        for group in self.groups.values { kill(-group, SIGKILL) }
    }
}
