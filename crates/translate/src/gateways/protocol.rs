//! What listeners speak, and what follows from it.

use gatehouse_api::types::{Listener, Protocol, TLSMode};
use gatehouse_model::{RouteKind, Transport};

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http,
    /// HTTP over TLS that ends here.
    Https,
    /// Any protocol over TLS that ends here.
    TlsTerminate,
    /// TLS that ends at the backends.
    TlsPassthrough,
    Tcp,
    Udp,
    /// Nothing that we know.
    Other,
}

/// What listeners of one port have in common: those of one family are told apart by hostname.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Http,
    /// The server name of the handshake tells.
    Tls,
    Tcp,
    Udp,
}

impl Speaks {
    pub(super) fn of(listener: &Listener) -> Self {
        let mode = listener.tls.as_ref().and_then(|tls| tls.mode.as_ref()).unwrap_or(&TLSMode::Terminate);
        match (&listener.protocol, mode) {
            (Protocol::Http, _) => Self::Http,
            (Protocol::Https, _) => Self::Https,
            (Protocol::Tls, TLSMode::Terminate) => Self::TlsTerminate,
            (Protocol::Tls, TLSMode::Passthrough) => Self::TlsPassthrough,
            (Protocol::Tcp, _) => Self::Tcp,
            (Protocol::Udp, _) => Self::Udp,
            (Protocol::Tls, TLSMode::Other(_)) | (Protocol::Other(_), _) => Self::Other,
        }
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::Http => Family::Http,
            Self::Https | Self::TlsTerminate | Self::TlsPassthrough => Family::Tls,
            Self::Tcp | Self::Other => Family::Tcp,
            Self::Udp => Family::Udp,
        }
    }

    pub(crate) fn transport(self) -> Transport {
        if self == Self::Udp { Transport::Udp } else { Transport::Tcp }
    }

    /// Whether TLS ends here, so that certificates are needed.
    pub(crate) fn terminates(self) -> bool {
        matches!(self, Self::Https | Self::TlsTerminate)
    }

    /// Whether its connections are forwarded as they are.
    pub(crate) fn is_stream(self) -> bool {
        !matches!(self, Self::Http | Self::Https)
    }

    /// Whether hostnames tell its listeners apart.
    pub(super) fn has_hostnames(self) -> bool {
        matches!(self.family(), Family::Http | Family::Tls)
    }

    /// Kinds of routes that it carries.
    pub(super) fn carries(self) -> &'static [RouteKind] {
        match self {
            Self::Http | Self::Https => &[RouteKind::Http, RouteKind::Grpc],
            Self::TlsTerminate | Self::TlsPassthrough => &[RouteKind::Tls],
            Self::Tcp => &[RouteKind::Tcp],
            Self::Udp => &[RouteKind::Udp],
            Self::Other => &[],
        }
    }
}
