// SPDX-License-Identifier: Apache-2.0
import HareDo
import Measuring

let usage = """
    Footprint [--broker URL] [--json] [--runs N]
      What a program with one connected peer takes: memory at rest, memory per outstanding call, and what a call costs
      beside 100,000 outstanding ones. Every run is a process of its own, and N of them (5) give a median.
      --broker URL   RabbitMQ, for example amqp://guest:guest@127.0.0.1:5672; none: the embedded broker, in another process
      --json         prints one JSON object instead of lines
    """

let arguments = Array(CommandLine.arguments.dropFirst())
switch arguments.first.flatMap({ Probe(rawValue: $0) }) {
case let probe?:
    // One of those that `Report` starts.
    try await probe.run()
case nil:
    if let options = Options(arguments) {
        try await Report.run(options)
    } else {
        print(usage)
        Usage.exitNow(2)
    }
}
