//! Enumerations that keep values they do not know.

/// Declares an enumeration of strings with an `Other` variant, so that a value from a newer API version survives
/// a round trip and can be reported by name.
macro_rules! open_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$vmeta])* $variant,)+
            /// A value this version does not know, verbatim.
            Other(String),
        }

        impl $name {
            /// The value as it is spelt in YAML.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Other(text),
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.as_str().to_owned()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(super) use open_enum;

open_enum! {
    /// From which namespaces routes or listener sets may attach.
    FromNamespaces {
        /// Every namespace.
        All = "All",
        /// Namespaces that the selector matches.
        Selector = "Selector",
        /// The Gateway's (or ListenerSet's) own namespace.
        Same = "Same",
        /// No namespace.
        None = "None",
    }
}

open_enum! {
    /// The protocol a listener speaks; implementation-specific ones are domain-prefixed.
    Protocol {
        /// Plain-text HTTP.
        Http = "HTTP",
        /// HTTP over TLS that the listener terminates.
        Https = "HTTPS",
        /// TLS routed by SNI.
        Tls = "TLS",
        /// TCP streams.
        Tcp = "TCP",
        /// UDP datagrams.
        Udp = "UDP",
    }
}

open_enum! {
    /// What a listener does with a TLS session.
    TLSMode {
        /// The listener decrypts.
        Terminate = "Terminate",
        /// The backend decrypts.
        Passthrough = "Passthrough",
    }
}

open_enum! {
    /// How a client certificate that does not verify is treated.
    FrontendValidationMode {
        /// The handshake fails.
        AllowValidOnly = "AllowValidOnly",
        /// The connection goes on without a verified client.
        AllowInsecureFallback = "AllowInsecureFallback",
    }
}

open_enum! {
    /// The type of a Gateway address.
    AddressType {
        /// A textual IP address.
        IpAddress = "IPAddress",
        /// A DNS name.
        Hostname = "Hostname",
        /// An address that the implementation names.
        NamedAddress = "NamedAddress",
    }
}

open_enum! {
    /// How a path is compared.
    PathMatchType {
        /// Equal, case-sensitively.
        Exact = "Exact",
        /// Equal in its leading path segments.
        PathPrefix = "PathPrefix",
        /// By a regular expression.
        RegularExpression = "RegularExpression",
    }
}

open_enum! {
    /// How a header or a query parameter is compared.
    StringMatchType {
        /// Equal.
        Exact = "Exact",
        /// By a regular expression.
        RegularExpression = "RegularExpression",
    }
}

open_enum! {
    /// The type of a route filter, equal to the name of the field that configures it.
    FilterType {
        /// Edit request headers.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// Edit response headers.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// Copy requests to another backend.
        RequestMirror = "RequestMirror",
        /// Answer with a redirect.
        RequestRedirect = "RequestRedirect",
        /// Rewrite host or path before forwarding.
        URLRewrite = "URLRewrite",
        /// Answer cross-origin preflights and mark responses.
        Cors = "CORS",
        /// Ask an authorization server first.
        ExternalAuth = "ExternalAuth",
        /// A filter that another API describes.
        ExtensionRef = "ExtensionRef",
    }
}

open_enum! {
    /// How a path is replaced.
    PathModifierType {
        /// The whole path.
        ReplaceFullPath = "ReplaceFullPath",
        /// The prefix that the rule matched.
        ReplacePrefixMatch = "ReplacePrefixMatch",
    }
}

open_enum! {
    /// The protocol of an external authorization server.
    ExternalAuthProtocol {
        /// Envoy's `ext_authz` over HTTP.
        Http = "HTTP",
        /// Envoy's `ext_authz` over gRPC.
        Grpc = "GRPC",
    }
}

open_enum! {
    /// Where the session identity travels.
    SessionPersistenceType {
        /// In a cookie.
        Cookie = "Cookie",
        /// In a header.
        Header = "Header",
    }
}

open_enum! {
    /// How long a session cookie lives in the client.
    CookieLifetimeType {
        /// Until its `Max-Age`.
        Permanent = "Permanent",
        /// Until the client ends its session.
        Session = "Session",
    }
}

open_enum! {
    /// What an Envoy Gateway `Backend` lists.
    BackendType {
        /// Its own endpoints.
        Endpoints = "Endpoints",
        /// Nothing: the proxy resolves the request's host.
        DynamicResolver = "DynamicResolver",
    }
}

open_enum! {
    /// The kind of address in an EndpointSlice.
    EndpointAddressType {
        /// IPv4 addresses.
        IPv4 = "IPv4",
        /// IPv6 addresses.
        IPv6 = "IPv6",
        /// DNS names.
        Fqdn = "FQDN",
    }
}

open_enum! {
    /// The transport protocol of a Service or endpoint port.
    TransportProtocol {
        /// TCP.
        Tcp = "TCP",
        /// UDP.
        Udp = "UDP",
        /// SCTP.
        Sctp = "SCTP",
    }
}
