// SPDX-License-Identifier: Apache-2.0
// HAREDO_BROKER=embedded swift run --package-path Examples Calculator
// Typed calls: values go out and come back, and several methods share one service.
import HareDo

struct Numbers: Codable { var a, b: Int }
struct Result: Codable { var value: Int }

let peer = Peer()
try await peer.connect()
let service = try await peer.listen(on: "calculator", as: .shared)
try service.handle("add") { (numbers: Numbers) in Result(value: numbers.a + numbers.b) }
try service.handle("divide") { (numbers: Numbers) in
    guard numbers.b != 0 else { throw ServiceError("division-by-zero", "nothing can be divided by 0") }
    return Result(value: numbers.a / numbers.b)
}
let running = Task { try await service.run() }

try await Peer.with(.environment) { client in
    client.timeout = .seconds(10)
    let sum = try await client.call("calculator", method: "add", encoding: Numbers(a: 2, b: 3), as: Result.self)
    print("2 + 3 = \(sum.value)")
    do {
        _ = try await client.call("calculator", method: "divide", encoding: Numbers(a: 2, b: 0), as: Result.self)
    } catch let error as HareDoError {
        print(error.remote?.text ?? error.message)
    }
}
await service.drain()
try await running.value
await peer.disconnect()
