//! Access log and statistics of proxies.

use std::collections::BTreeMap;

use super::kept;

kept! {
    /// Access log and statistics.
    ProxyTelemetry {
        /// The access log.
        access_log: ProxyAccessLog,
        /// Statistics.
        metrics: ProxyMetrics,
    }

    /// The access log.
    ProxyAccessLog {
        /// No access log at all.
        disable: bool,
        /// One per log; a default log when empty.
        settings: Vec<AccessLogSetting>,
    }

    /// One access log.
    AccessLogSetting {
        /// What a line says.
        format: AccessLogFormat,
        /// Where lines go.
        sinks: Vec<AccessLogSink>,
        /// `Listener`, `Route` or `Upstream`; requests and connections when absent.
        #![rename = "type"] kind: String,
    }

    /// What a line says.
    AccessLogFormat {
        /// `Text` or `JSON`.
        #![rename = "type"] kind: String,
        /// With Envoy's command operators.
        text: String,
        /// By key, with Envoy's command operators.
        json: BTreeMap<String, String>,
    }

    /// Where lines go.
    AccessLogSink {
        /// `File`, or a type that is not supported.
        #![rename = "type"] kind: String,
        /// A file.
        file: FileAccessLog,
    }

    /// A file to log to.
    FileAccessLog {
        /// Its path, such as `/dev/stdout`.
        path: String,
    }

    /// Statistics.
    ProxyMetrics {
        /// The Prometheus endpoint.
        prometheus: ProxyPrometheus,
        /// Statistics to keep besides the default ones.
        matches: Vec<StringMatch>,
    }

    /// The Prometheus endpoint.
    ProxyPrometheus {
        /// Do not ask to be scraped.
        disable: bool,
    }

    /// A test of a string.
    StringMatch {
        /// `Exact` (when absent), `Prefix`, `Suffix` or `RegularExpression`.
        #![rename = "type"] kind: String,
        /// What to look for.
        value: String,
    }
}
