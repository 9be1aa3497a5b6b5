// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOSSL
import NIOTLS

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Stands behind TLS: checks what TLS leaves unchecked, and puts its errors into words while there is nothing else that
/// could have failed.
final class TLSGuard: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private enum Phase {
        case handshake
        /// The broker has not said anything yet.
        case silence
        case open
        case failed
    }

    private let failure: TLSFailure
    private let tls: NIOSSLClientHandler
    private var phase = Phase.handshake

    init(_ failure: TLSFailure, tls: NIOSSLClientHandler) {
        self.failure = failure
        self.tls = tls
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted? = event as? TLSUserEvent, case .handshake = self.phase {
            guard self.isMadeOutToHost else {
                self.phase = .failed
                context.fireErrorCaught(self.failure.wrongHost)
                context.close(promise: nil)
                return
            }
            self.phase = .silence
        }
        context.fireUserInboundEventTriggered(event)
    }

    private var isMadeOutToHost: Bool {
        guard self.failure.settings.verification == .full, let host = self.failure.serverName else { return true }
        guard let certificate = self.tls.peerCertificate else { return false }
        return CertificateNames.accept(certificate, host: host)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.phase {
        case .handshake, .silence: self.phase = .open
        case .open: break
        // Nothing of somebody else's is believed.
        case .failed: return
        }
        context.fireChannelRead(data)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch self.phase {
        case .handshake:
            self.phase = .failed
            context.fireErrorCaught(self.failure.handshakeFailed(error, validity: self.validity))
        case .silence:
            let explained = self.failure.refusedAfterHandshake(error)
            if explained != nil { self.phase = .failed }
            context.fireErrorCaught(explained ?? error)
        case .open: context.fireErrorCaught(error)
        // The first error says it; those that follow say that it is over.
        case .failed: break
        }
    }

    private var validity: TLSFailure.Validity? {
        self.tls.peerCertificate.map {
            TLSFailure.Validity(from: Int($0.notValidBefore), until: Int($0.notValidAfter), now: time(nil))
        }
    }
}
