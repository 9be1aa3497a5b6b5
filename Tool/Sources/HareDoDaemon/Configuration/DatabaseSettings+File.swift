// SPDX-License-Identifier: Apache-2.0
import HareDo

extension DatabaseSettings {
    static func read(_ map: MapReader) -> DatabaseSettings {
        var settings = DatabaseSettings()
        settings.driver = map.text("driver")
        if let host = map.text("host") {
            settings.host = host
            map.checkHost(host, "host")
        }
        settings.port = map.number("port", in: 1...65535)
        settings.name = map.text("name")
        settings.user = map.text("user")
        settings.password = map.password()
        map.finish()
        return settings
    }
}
