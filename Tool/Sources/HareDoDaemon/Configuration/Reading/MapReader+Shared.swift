// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What several sections have.
extension MapReader {
    /// `password`, or the first line of the file that `password_file` names.
    func password() -> String? {
        let password = self.text("password")
        guard let file = self.text("password_file") else { return password }
        if self.has("password") { self.error("password_file", "cannot be given besides 'password'") }
        guard let data = FileManager.default.contents(atPath: file) else {
            self.error("password_file", "names '\(file)', which cannot be read")
            return nil
        }
        // Editors end a file with a line end.
        return String(decoding: data, as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false).first.map(String.init) ?? ""
    }

    func checkHost(_ host: String, _ key: String) {
        guard host.isEmpty || host.contains(where: { "/@, ".contains($0) }) else { return }
        self.error(key, "has '\(host)', which is no name of a host")
    }

    /// A password that is written in the section, when everybody may read the file.
    func warnOfPassword() {
        guard self.has("password"), self.text("password") != "guest" else { return }
        self.warning("password", "can be read by everybody on this machine: `chmod o-r` the file, or use password_file")
    }
}
