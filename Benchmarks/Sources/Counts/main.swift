// SPDX-License-Identifier: Apache-2.0
import Drivers

// Counts NAME N     does one driver's operation N times, and nothing else: valgrind counts
// Counts --list     names and how often to do each, separated by a tab
let arguments = CommandLine.arguments.dropFirst()
switch (arguments.first, arguments.dropFirst().first.flatMap { Int($0) }) {
case ("--list"?, nil):
    for driver in Driver.all { print("\(driver.name)\t\(driver.count)") }
case (let name?, let count?) where count > 0:
    guard let driver = Driver.all.first(where: { $0.name == name }) else { throw Unknown(name: name) }
    try driver.prepare()(count)
default:
    print("usage: Counts --list | Counts NAME N")
}

struct Unknown: Error {
    let name: String
}
