//! What an Envoy is busy with.

/// How many connections and requests an Envoy has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Downstream connections of all listeners but the admin's.
    pub connections: u64,
    /// Those that carry HTTP.
    pub http_connections: u64,
    /// HTTP requests in progress, WebSockets included.
    pub requests: u64,
}

impl Load {
    /// Something is under way: a request, or bytes of another protocol, which may always be.
    pub fn is_busy(self) -> bool {
        self.requests > 0 || self.connections > self.http_connections
    }
}

pub(crate) fn parse_load(stats: &str) -> Option<Load> {
    let mut load = Load::default();
    let mut known = false;
    for line in stats.lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        // Workers repeat what the listener counts, and the admin interface counts our own request.
        let repeats = name.contains(".worker_") || name.contains(".main_thread.");
        let (Ok(value), false) = (value.trim().parse::<u64>(), repeats) else { continue };
        match name.split_once('.') {
            Some(("listener", rest)) if rest != "admin.downstream_cx_active" => {
                known = true;
                load.connections += value;
            }
            Some(("http", rest)) if !rest.starts_with("admin.") => {
                if rest.ends_with(".downstream_cx_active") {
                    load.http_connections += value;
                } else {
                    load.requests += value;
                }
            }
            _ => {}
        }
    }
    known.then_some(load)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATS: &str = "http.admin.downstream_cx_active: 1\nhttp.admin.downstream_rq_active: 1\n\
        http.main.downstream_cx_active: 2\nhttp.main.downstream_rq_active: 1\n\
        listener.127.0.0.1_80.downstream_cx_active: 2\nlistener.127.0.0.1_80.worker_0.downstream_cx_active: 2\n\
        listener.tcp.downstream_cx_active: 3\n\
        listener.admin.downstream_cx_active: 1\nlistener.admin.main_thread.downstream_cx_active: 1\n";

    #[test]
    fn load_counts_neither_workers_nor_the_admin_interface() {
        assert_eq!(parse_load(STATS), Some(Load { connections: 5, http_connections: 2, requests: 1 }));
        assert_eq!(parse_load("http.admin.downstream_cx_active: 1\n"), None);
    }

    #[test]
    fn idle_http_connections_are_not_busy_and_others_always_are() {
        let load = |connections, http_connections, requests| Load { connections, http_connections, requests };
        assert!(!load(2, 2, 0).is_busy());
        assert!(load(2, 2, 1).is_busy() && load(3, 2, 0).is_busy());
    }
}
