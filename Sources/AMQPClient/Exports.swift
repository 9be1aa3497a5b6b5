// SPDX-License-Identifier: Apache-2.0

// Tables, properties and methods are part of this module's interface, as are bodies: who uses it need not know where
// they come from.
@_exported public import AMQPWire
@_exported public import struct NIOCore.ByteBuffer
