//! Filters of rules and of backends.

use std::sync::Arc;

use gatehouse_api::types::{
    CORS, FilterType, HTTPHeader, HTTPHeaderFilter, HTTPPathModifier, PathModifierType, RequestMirror,
    RequestRedirect, RouteFilter, URLRewrite,
};
use gatehouse_engine::Reads;
use gatehouse_model::http::{
    Cors, Filters, Fraction, HeaderMods, Mirror, PathModifier, Redirect, UrlRewrite,
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
                out.redirect = filter.request_redirect.as_ref().map(redirect);
                self.needs_listener |= out.redirect.as_ref().is_some_and(|r| r.scheme.is_none());
            }
            FilterType::URLRewrite => {
                out.rewrite = filter.url_rewrite.as_ref().map(rewrite).unwrap_or_default();
            }
            FilterType::RequestMirror => {
                if let Some(mirror) = &filter.request_mirror {
                    out.mirrors.extend(self.mirror(reads, mirror));
                }
            }
            FilterType::Cors => out.cors = filter.cors.as_ref().map(cors),
            FilterType::ExtensionRef => return self.extension(filter),
            other @ (FilterType::ExternalAuth | FilterType::Other(_)) => {
                self.unsupport(Problem::new("UnsupportedValue", format!("filter {other} is not supported")));
                return false;
            }
        }
        true
    }

    fn extension(&mut self, filter: &RouteFilter) -> bool {
        let message = filter.extension_ref.as_ref().map_or_else(
            || "filter ExtensionRef has no extensionRef".to_owned(),
            |r| format!("extensionRef {}: kind {} of group {:?} is not supported", r.name, r.kind, r.group),
        );
        self.unresolve(Problem::new("InvalidKind", message));
        false
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

fn path_modifier(modifier: &HTTPPathModifier) -> PathModifier {
    match modifier.modifier_type {
        PathModifierType::ReplacePrefixMatch => {
            PathModifier::ReplacePrefixMatch(modifier.replace_prefix_match.as_deref().unwrap_or("/").into())
        }
        _ => PathModifier::ReplaceFullPath(modifier.replace_full_path.as_deref().unwrap_or("/").into()),
    }
}

fn redirect(redirect: &RequestRedirect) -> Redirect {
    Redirect {
        scheme: redirect.scheme.as_deref().map(Arc::from),
        hostname: redirect.hostname.as_deref().map(Arc::from),
        path: redirect.path.as_ref().map(path_modifier),
        port: redirect.port,
        status: redirect.status_code.unwrap_or(302),
    }
}

fn rewrite(rewrite: &URLRewrite) -> UrlRewrite {
    UrlRewrite {
        hostname: rewrite.hostname.as_deref().map(Arc::from),
        path: rewrite.path.as_ref().map(path_modifier),
    }
}

fn cors(cors: &CORS) -> Cors {
    let list = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
    Cors {
        allow_origins: list(&cors.allow_origins),
        allow_credentials: cors.allow_credentials.unwrap_or(false),
        allow_methods: list(&cors.allow_methods),
        allow_headers: list(&cors.allow_headers),
        expose_headers: list(&cors.expose_headers),
        max_age: cors.max_age.unwrap_or(5),
    }
}
