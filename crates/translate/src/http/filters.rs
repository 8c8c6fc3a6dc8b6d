//! Filters of rules and of backends.

use std::sync::Arc;

use gatehouse_api::types::{
    CORS, ExternalAuth as ApiAuth, ExternalAuthProtocol, FilterType, HTTPHeader, HTTPHeaderFilter,
    HTTPPathModifier, PathModifierType, RequestMirror, RequestRedirect, RouteFilter,
};
use gatehouse_engine::Reads;
use gatehouse_model::backend::Protocol;
use gatehouse_model::http::{
    AuthProtocol, Cors, ExternalAuth, Filters, Fraction, HeaderMods, Mirror, PathModifier, Redirect,
    UrlRewrite,
};

use super::Lowering;
use crate::gateways::Problem;

impl Lowering<'_> {
    /// Filters, and whether one of them cannot be done: then requests must fail rather than pass it by.
    pub(super) fn filters(&mut self, reads: &mut Reads, filters: &[RouteFilter]) -> (Filters, bool) {
        let mut lowered = Filters::default();
        let mut broken = false;
        for filter in filters {
            broken |= !self.filter(reads, filter, &mut lowered);
        }
        (lowered, broken)
    }

    fn filter(&mut self, reads: &mut Reads, filter: &RouteFilter, out: &mut Filters) -> bool {
        match &filter.filter_type {
            FilterType::RequestHeaderModifier => {
                out.request_headers =
                    filter.request_header_modifier.as_ref().map(header_mods).unwrap_or_default();
            }
            FilterType::ResponseHeaderModifier => {
                out.response_headers =
                    filter.response_header_modifier.as_ref().map(header_mods).unwrap_or_default();
            }
            FilterType::RequestRedirect => {
                let Some(asked) = &filter.request_redirect else { return true };
                let Ok(path) = self.path_modifier(asked.path.as_ref()) else { return false };
                self.needs_listener |= asked.scheme.is_none();
                out.redirect = Some(redirect(asked, path));
            }
            FilterType::URLRewrite => {
                let Some(asked) = &filter.url_rewrite else { return true };
                let Ok(path) = self.path_modifier(asked.path.as_ref()) else { return false };
                out.rewrite = UrlRewrite { hostname: asked.hostname.as_deref().map(Arc::from), path };
            }
            FilterType::RequestMirror => {
                if let Some(mirror) = &filter.request_mirror {
                    out.mirrors.extend(self.mirror(reads, mirror));
                }
            }
            FilterType::Cors => out.cors = filter.cors.as_ref().map(cors),
            FilterType::ExtensionRef => return self.extension(filter),
            FilterType::ExternalAuth => {
                let Some(auth) = &filter.external_auth else { return true };
                out.auth = self.external_auth(reads, auth).map(Arc::new);
                return out.auth.is_some();
            }
            other @ FilterType::Other(_) => {
                self.unsupport(Problem::new("UnsupportedValue", format!("filter {other} is not supported")));
                return false;
            }
        }
        true
    }

    /// Fails when nobody here knows what is asked for.
    fn path_modifier(&mut self, modifier: Option<&HTTPPathModifier>) -> Result<Option<PathModifier>, ()> {
        let Some(modifier) = modifier else { return Ok(None) };
        let text = |text: &Option<String>| text.as_deref().unwrap_or("/").into();
        match &modifier.modifier_type {
            PathModifierType::ReplacePrefixMatch => {
                Ok(Some(PathModifier::ReplacePrefixMatch(text(&modifier.replace_prefix_match))))
            }
            PathModifierType::ReplaceFullPath => {
                Ok(Some(PathModifier::ReplaceFullPath(text(&modifier.replace_full_path))))
            }
            PathModifierType::Other(other) => {
                let message = format!("path.type {other} of a filter is not supported");
                self.unsupport(Problem::new("UnsupportedValue", message));
                Err(())
            }
        }
    }

    fn extension(&mut self, filter: &RouteFilter) -> bool {
        let message = filter.extension_ref.as_ref().map_or_else(
            || "filter ExtensionRef has no extensionRef".to_owned(),
            |r| format!("extensionRef {}: kind {} of group {:?} is not supported", r.name, r.kind, r.group),
        );
        self.unresolve(Problem::new("InvalidKind", message));
        false
    }

    /// `None` when its server cannot be asked: then nothing passes.
    pub(super) fn external_auth(&mut self, reads: &mut Reads, auth: &ApiAuth) -> Option<ExternalAuth> {
        let (protocol, spoken) = match &auth.protocol {
            ExternalAuthProtocol::Grpc => {
                let config = auth.grpc.as_ref();
                let request_headers = config.map(|c| names(&c.allowed_headers)).unwrap_or_default();
                (AuthProtocol::Grpc { request_headers }, Some(Protocol::H2c))
            }
            ExternalAuthProtocol::Http => {
                let config = auth.http.clone().unwrap_or_default();
                let protocol = AuthProtocol::Http {
                    path_prefix: path_prefix(config.path.as_deref().unwrap_or_default()),
                    request_headers: names(&config.allowed_headers),
                    response_headers: names(&config.allowed_response_headers),
                };
                (protocol, None)
            }
            other @ ExternalAuthProtocol::Other(_) => {
                let message = format!("externalAuth.protocol {other} is not supported");
                self.unsupport(Problem::new("UnsupportedValue", message));
                return None;
            }
        };
        let cluster = self.cluster_of(reads, &auth.backend_ref, spoken).ok()?;
        let body_limit = auth.forward_body.map_or(0, |body| body.max_size);
        Some(ExternalAuth { cluster, protocol, body_limit })
    }

    /// A mirror whose backend does not resolve is left out; the request itself goes on.
    fn mirror(&mut self, reads: &mut Reads, mirror: &RequestMirror) -> Option<Mirror> {
        let cluster = self.cluster(reads, &mirror.backend_ref).ok()?;
        let fraction = match (mirror.percent, mirror.fraction) {
            (Some(percent), _) => Some(Fraction { numerator: percent.min(100), denominator: 100 }),
            (None, Some(f)) => {
                let denominator = f.denominator.unwrap_or(100).max(1);
                Some(Fraction { numerator: f.numerator.min(denominator), denominator })
            }
            (None, None) => None,
        };
        Some(Mirror { cluster, fraction })
    }
}

fn names(names: &[String]) -> Vec<Arc<str>> {
    names.iter().map(|name| name.as_str().into()).collect()
}

fn header_mods(filter: &HTTPHeaderFilter) -> HeaderMods {
    let pairs = |headers: &[HTTPHeader]| -> Vec<(Arc<str>, Arc<str>)> {
        headers.iter().map(|h| (h.name.as_str().into(), h.value.as_str().into())).collect()
    };
    HeaderMods {
        set: pairs(&filter.set),
        add: pairs(&filter.add),
        remove: filter.remove.iter().map(|name| name.as_str().into()).collect(),
    }
}

/// One slash ahead and none at the end: the client's path follows.
fn path_prefix(path: &str) -> Arc<str> {
    match path.trim_matches('/') {
        "" => Arc::default(),
        path => format!("/{path}").into(),
    }
}

fn redirect(redirect: &RequestRedirect, path: Option<PathModifier>) -> Redirect {
    Redirect {
        scheme: redirect.scheme.as_deref().map(Arc::from),
        hostname: redirect.hostname.as_deref().map(Arc::from),
        path,
        port: redirect.port,
        left_out: None,
        status: redirect.status_code.unwrap_or(302),
    }
}

fn cors(cors: &CORS) -> Cors {
    Cors {
        allow_origins: names(&cors.allow_origins),
        allow_credentials: cors.allow_credentials.unwrap_or(false),
        allow_methods: names(&cors.allow_methods),
        allow_headers: names(&cors.allow_headers),
        expose_headers: names(&cors.expose_headers),
        max_age: cors.max_age.unwrap_or(5),
    }
}
