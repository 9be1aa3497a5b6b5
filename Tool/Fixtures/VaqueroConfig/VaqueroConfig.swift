// SPDX-License-Identifier: Apache-2.0
import CSQLite
import Glibc
public import HareDo
import Synchronization

/// What a connection does: SQL with its parameters, and the rows that come of it.
public typealias Query = @Sendable (_ sql: String, _ parameters: [String]) throws -> [[String]]
/// The original's `connectDb`: from a plugin's configuration to a connection. Plugins that want it have the same type, as
/// both are made of what they have in common: functions, and HareDo's types.
public typealias ConnectDb = @Sendable (_ parameters: [String: ConfigurationValue]) throws -> Query

/// The module of the original's example, which gives plugins a database. Here `vaquero` at `localhost` is a file of SQLite,
/// in the folder that the environment variable VAQUERO_DATABASES names.
public struct VaqueroConfig: DaemonModule {
    public static let configurationKeys: [String]? = []

    public init(_ context: ModuleContext) {}

    public func prepare(_ resources: Resources) {
        resources.add(
            { parameters in
                guard case .string("localhost")? = parameters["host"], case .string(let name)? = parameters["db"],
                    case .string? = parameters["user"], let folder = getenv("VAQUERO_DATABASES")
                else { throw ServiceError("no-database", "there is no such database", isFinal: true) }
                let database = try Database(path: String(cString: folder) + "/\(name).sqlite")
                return { sql, parameters in try database.query(sql, parameters) }
            }, as: ConnectDb.self)
    }
}

/// A file of SQLite, for one at a time.
private final class Database: Sendable {
    private struct Handle: @unchecked Sendable {
        // Used by whoever holds the lock around it, and by nobody when the last owner is gone.
        let pointer: OpaquePointer?
    }
    private let handle: Mutex<Handle>

    init(path: String) throws {
        var pointer: OpaquePointer?
        let status = sqlite3_open(path, &pointer)
        self.handle = Mutex(Handle(pointer: pointer))
        guard status == SQLITE_OK else { throw ServiceError("no-database", "cannot open \(path)", isFinal: true) }
    }

    deinit { self.handle.withLock { _ = sqlite3_close_v2($0.pointer) } }

    func query(_ sql: String, _ parameters: [String]) throws -> [[String]] {
        try self.handle.withLock { handle in
            func failure() -> ServiceError {
                ServiceError("sql", String(cString: sqlite3_errmsg(handle.pointer)), isFinal: true)
            }
            var statement: OpaquePointer?
            guard sqlite3_prepare_v2(handle.pointer, sql, -1, &statement, nil) == SQLITE_OK else { throw failure() }
            defer { sqlite3_finalize(statement) }
            for (index, parameter) in parameters.enumerated() {
                // SQLITE_TRANSIENT, a macro that Swift does not see: SQLite copies it.
                let copies = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
                guard sqlite3_bind_text(statement, Int32(index + 1), parameter, -1, copies) == SQLITE_OK else {
                    throw failure()
                }
            }
            var rows: [[String]] = []
            while true {
                switch sqlite3_step(statement) {
                case SQLITE_ROW:
                    rows.append(
                        (0..<sqlite3_column_count(statement)).map { column in
                            sqlite3_column_text(statement, column).map { String(cString: $0) } ?? ""
                        })
                case SQLITE_DONE: return rows
                default: throw failure()
                }
            }
        }
    }
}

@c(haredo_module_main) public func haredoModuleMain() -> UnsafeRawPointer { exportModule(VaqueroConfig.self) }
