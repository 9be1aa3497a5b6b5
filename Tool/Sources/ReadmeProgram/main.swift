import HareDo

// A service: whatever is called "increment" adds one.
let service = Peer(name: "increment", .embedded)
try await service.connect()
try await service.listen { message in
    "\((message.headers["i"]?.int ?? 0) + 1)"
}

// A client, which is nothing but another peer.
let client = Peer(.embedded)
try await client.connect()
for i in 1...3 {
    let reply = try await client.call("increment", headers: ["i": .integer(Int64(i))])
    print(i, "->", reply?.text ?? "no reply in time")
}

await client.disconnect()
await service.disconnect()
