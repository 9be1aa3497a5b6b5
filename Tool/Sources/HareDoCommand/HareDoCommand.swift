// SPDX-License-Identifier: Apache-2.0
import HareDoTool

@main
enum HareDoCommand {
    static func main() async { await HareDoTool.main() }
}
