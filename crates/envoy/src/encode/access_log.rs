//! Access logs in files.

use envoy_types::pb::envoy::config::accesslog::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, SubstitutionFormatString, data_source, substitution_format_string,
};
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use envoy_types::pb::google::protobuf::Any;
use gatehouse_model::listener::{AccessLog, LogFormat, LogScope};
use prost::{Message, Name};

use crate::wire;

/// Field numbers of `FileAccessLog`.
const FILE_LOG_FORMAT: u32 = 5;
/// Field number of `SubstitutionFormatString.json_format`.
const JSON_FORMAT: u32 = 2;
/// Envoy's flag for what found no filter chain.
const NO_CHAIN: &str = "NR";

/// The logs of a connection manager.
pub(super) fn of_requests(logs: &[AccessLog]) -> Vec<pb::AccessLog> {
    logs.iter().filter(|log| log.scope != LogScope::Connections).map(|log| access_log(log, None)).collect()
}

/// The logs of a listener.
pub(super) fn of_connections(logs: &[AccessLog]) -> Vec<pb::AccessLog> {
    let of_listener = |log: &AccessLog| match log.scope {
        LogScope::Requests => None,
        LogScope::Connections => Some(access_log(log, None)),
        LogScope::Everything => Some(access_log(log, Some(no_chain()))),
    };
    logs.iter().filter_map(of_listener).collect()
}

fn no_chain() -> pb::AccessLogFilter {
    let flags = pb::ResponseFlagFilter { flags: vec![NO_CHAIN.to_owned()] };
    pb::AccessLogFilter {
        filter_specifier: Some(pb::access_log_filter::FilterSpecifier::ResponseFlagFilter(flags)),
    }
}

fn access_log(log: &AccessLog, filter: Option<pb::AccessLogFilter>) -> pb::AccessLog {
    let value = file(log);
    pb::AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        filter,
        config_type: Some(pb::access_log::ConfigType::TypedConfig(Any {
            type_url: FileAccessLog::type_url(),
            value,
        })),
    }
}

/// The format is appended as bytes: its JSON form has a map.
fn file(log: &AccessLog) -> Vec<u8> {
    let mut bytes = FileAccessLog { path: log.path.to_string(), access_log_format: None }.encode_to_vec();
    match &log.format {
        LogFormat::Default => {}
        LogFormat::Text(text) => {
            let source = DataSource {
                specifier: Some(data_source::Specifier::InlineString(text.to_string())),
                ..DataSource::default()
            };
            let format = SubstitutionFormatString {
                format: Some(substitution_format_string::Format::TextFormatSource(source)),
                ..SubstitutionFormatString::default()
            };
            wire::put_bytes(&mut bytes, FILE_LOG_FORMAT, &format.encode_to_vec());
        }
        LogFormat::Json(fields) => {
            let mut format = Vec::new();
            let pairs = fields.iter().map(|(key, value)| (&**key, &**value));
            wire::put_bytes(&mut format, JSON_FORMAT, &wire::strings(pairs));
            wire::put_bytes(&mut bytes, FILE_LOG_FORMAT, &format);
        }
    }
    bytes
}
